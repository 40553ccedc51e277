"""The names of keys in other training programs, so that an error message can suggest the right key."""

from __future__ import annotations

from collections.abc import Container

# Key -> names in transformers (TrainingArguments, model configs), nanoGPT, litgpt, Lightning and llama.cpp, and plain ones.
_NAMES = {
    "base.model": "from init_from model_name_or_path pretrained_model_name_or_path base_model pretrained pretrained_model "
    "finetune_from load_from",
    "model.layout": "arch architecture model_type",
    "model.layers": "n_layer n_layers num_layers num_hidden_layers depth blocks num_blocks n_blocks",
    "model.hidden": "n_embd n_embed d_model dim hidden_size hidden_dim embed_dim embedding_dim embedding_size emb_dim "
    "embed_size model_dim width",
    "model.heads": "n_head n_heads num_heads num_attention_heads attention_heads",
    "model.kv_heads": "n_kv_head n_kv_heads num_kv_heads num_key_value_heads n_query_groups",
    "model.head_dim": "head_size d_head",
    "model.ffn": "intermediate_size ffn_dim ffn_size d_ff n_inner mlp_dim mlp_size feed_forward_size",
    "model.context": "block_size context_length context_size context_window ctx ctx_len n_ctx seq_len seq_length "
    "sequence_len sequence_length max_seq_len max_seq_length max_sequence_length max_length max_len n_positions "
    "max_position_embeddings",
    "model.window": "sliding_window attention_window window_size",
    "model.gelu": "activation_function hidden_act activation",
    "model.attention_bias": "qkv_bias use_bias bias",
    "model.rope_scaling": "rope_type rope_parameters",
    "model.rope_factor": "rope_scaling_factor",
    "model.tie_embeddings": "tie_word_embeddings tie_weights weight_tying tied_embeddings tied",
    "model.rope_theta": "rope_base theta",
    "model.norm_eps": "rms_norm_eps layer_norm_eps layer_norm_epsilon",
    "model.init": "initializer init_std initializer_range",
    "data.source": "data dataset datasets dataset_name dataset_path data_source data_dir train_data train_file "
    "train_files training_data corpus text input input_file",
    "data.path": "data_path",
    "data.field": "text_column text_field column column_name",
    "data.validation": "val_split val_fraction val_size validation_split validation_split_percentage test_size",
    "data.validation_path": "val_file val_data validation_file validation_data eval_file eval_data val_path",
    "data.max_documents": "max_train_samples max_samples max_examples limit",
    "data.workers": "num_workers num_proc dataloader_num_workers preprocessing_num_workers",
    "tokenizer.kind": "tokenizer_type",
    "tokenizer.path": "tokenizer tokenizer_name tokenizer_path",
    "tokenizer.vocab_size": "vocab vocabulary vocabulary_size n_vocab",
    "optimizer.name": "optimizer optim optimizer_type optimiser",
    "optimizer.lr": "learning_rate learningrate max_lr peak_lr base_lr max_learning_rate",
    "optimizer.adam_lr": "adam_learning_rate embedding_lr",
    "optimizer.beta1": "adam_beta1",
    "optimizer.beta2": "adam_beta2",
    "optimizer.eps": "epsilon adam_eps adam_epsilon",
    "optimizer.weight_decay": "wd decay_weight",
    "optimizer.grad_clip": "max_grad_norm gradient_clip gradient_clip_val gradient_clipping clip clip_grad clip_grad_norm "
    "max_norm",
    "schedule.kind": "lr_scheduler lr_scheduler_type lr_schedule scheduler scheduler_type",
    "schedule.warmup": "warmup_steps warmup_iters warmup_ratio warmup_fraction lr_warmup_steps num_warmup_steps",
    "schedule.floor": "min_lr min_learning_rate final_lr end_lr",
    "train.steps": "max_steps max_iters max_iterations num_steps num_train_steps num_iters iters iterations total_steps "
    "train_steps training_steps train_iters n_steps step",
    "train.epochs": "num_epochs num_train_epochs max_epochs n_epochs epoch num_epoch",
    "train.tokens": "num_tokens max_tokens total_tokens train_tokens",
    "train.time": "max_time duration time_limit train_time deadline",
    "train.batch_size": "batch bs batchsize train_batch_size per_device_train_batch_size global_batch_size total_batch_size",
    "train.micro_batch": "micro_batch_size device_batch_size gradient_accumulation_steps gradient_accumulation "
    "grad_accum grad_accum_steps accumulate_grad_batches accumulation_steps",
    "train.seed": "random_seed manual_seed",
    "train.precision": "dtype torch_dtype bf16 fp16 fp32 amp mixed_precision",
    "train.compile": "torch_compile",
    "train.device": "cuda gpu accelerator",
    "train.threads": "num_threads cpu_threads",
    "train.eval_every": "eval_interval eval_steps eval_freq eval_frequency evaluation_steps val_every val_interval "
    "val_check_interval validation_every validate_every",
    "train.eval_tokens": "eval_iters eval_batches limit_val_batches",
    "train.sample_every": "sample_interval sample_steps generate_every",
    "train.sample_prompts": "prompt prompts sample_prompt",
    "train.checkpoint_every": "save_every save_steps save_interval save_freq checkpoint_interval checkpoint_steps "
    "ckpt_every ckpt_interval",
    "train.keep_last": "save_total_limit keep_checkpoints max_checkpoints",
    "train.keep_best": "save_best load_best_model_at_end save_best_only",
    "train.early_stop": "patience early_stopping early_stopping_patience",
}


def _by_name() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for key, names in _NAMES.items():
        for name in names.split():
            found[name] = (*found.get(name, ()), key)
    return found


SYNONYMS = _by_name()
"""The name of a key in another program -> the same key in Seedbed; if several, each is of another kind of config."""

OTHER_UNITS = frozenset(
    (
        "model.gelu",
        "model.rope_scaling",
        "data.validation",
        "schedule.warmup",
        "schedule.floor",
        "train.micro_batch",
        "train.eval_tokens",
        "train.precision",
    )
)
"""Keys whose unit or meaning differs in other programs, so that a value cannot be copied without a change."""


def meant(name: str, known: Container[str]) -> str | None:
    """The key among `known` that other programs call `name`, or None; such as `optimizer.lr` for `learning-rate`."""
    keys = SYNONYMS.get(name.rpartition(".")[2].lower().replace("-", "_"), ())
    return next((key for key in keys if key in known), None)
