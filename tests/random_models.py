"""Very small random models of every family, made by transformers.

Their matrices are six times as large as at initialisation, and their gains and biases random: otherwise missing biases,
the other GELU or a window would hardly change the logits.
"""

from __future__ import annotations

from typing import Any

import torch

VOCAB = 97
LLAMA = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT = {
    "vocab_size": VOCAB,
    "n_embd": 48,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# Name -> model type, and what differs from LLAMA or GPT.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-tied": ("llama", {"tie_word_embeddings": True}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 16, "num_key_value_heads": 4}),
    "llama-llama3": ("llama", {"rope_parameters": LLAMA3, "rms_norm_eps": 1e-5}),
    "llama-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}),
    "mistral": ("mistral", {"sliding_window": None, "head_dim": 8}),
    "mistral-window": ("mistral", {"sliding_window": 16, "num_key_value_heads": 1}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    "qwen2-window-from-layer-1": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1, "num_hidden_layers": 3},
    ),
    "qwen2-layer-types": (
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": 16,
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "qwen3": ("qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen3-biases": ("qwen3", {"head_dim": 12, "attention_bias": True, "num_key_value_heads": 4}),
    "starcoder2": ("starcoder2", {}),
    "starcoder2-untied-window": (
        "starcoder2",
        {"tie_word_embeddings": False, "use_bias": False, "sliding_window": 16, "hidden_act": "gelu"},
    ),
    "gpt_bigcode": ("gpt_bigcode", {}),
    "gpt_bigcode-by-head": ("gpt_bigcode", {"multi_query": False, "tie_word_embeddings": False, "n_inner": 100}),
    "gpt2": ("gpt2", {}),
    "gpt2-exact-gelu": ("gpt2", {"activation_function": "gelu", "tie_word_embeddings": False, "n_inner": 100}),
}


def random_model(case: str, rows: int = VOCAB) -> Any:
    """The model of a case in transformers, with eager attention. `rows`: those of its embedding."""
    import transformers

    model_type, changes = CASES[case]
    base = GPT if model_type.startswith("gpt") else LLAMA
    config = transformers.AutoConfig.for_model(model_type, **{**base, **changes, "vocab_size": rows})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape) * 0.3)
            else:
                parameter.mul_(6)
    return model
