"""The tables that configs are made of: every key, its type, bounds and help. Does not track where values come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from seedbed.config.families.table import FAMILIES

if TYPE_CHECKING:
    Layout = str
else:
    Layout = Literal[FAMILIES]  # a type checker cannot read a computed Literal

MOST_STEPS = 10**12
"""The most steps of a run: at a thousand steps a second they would take thirty years."""
SHORTEST_CONTEXT = 2
"""The shortest training window of a new config, in tokens; earlier versions accepted 1."""

PositiveInt = Annotated[int, Meta(ge=1)]
NonNegativeInt = Annotated[int, Meta(ge=0)]
PositiveFloat = Annotated[float, Meta(gt=0)]
NonNegativeFloat = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]

# Values for `extra` of a field (see keys.Key): what its text refers to; and, for keys of which only one may be given,
# what they set.
PATH = {"refers_to": "path"}
SOURCE = {"refers_to": "source"}
DEVICE = {"refers_to": "device"}
MODEL = {"refers_to": "model"}
HORIZON = {"decides": "how long to train"}


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables of a config, such as `[optimizer]`: immutable, keyword-only, unknown keys refused."""


class BaseConfig(Table, frozen=True, kw_only=True):
    """The table `base`: the trained model from which a training starts. Without it, the weights start at random."""

    model: Annotated[
        str | None,
        Meta(
            description="Train on from this model, with all its weights and its own tokenizer: a model folder, "
            "hub:NAME[@REVISION], or RUN[@STEP].",
            extra=MODEL,
        ),
    ] = None
    folder: Annotated[
        str | None,
        Meta(description="The folder where base.model was found; filled in when the config is resolved."),
    ] = None
    fingerprint: Annotated[
        str | None,
        Meta(
            description="Identifies the base's weights: a hash of the headers and of samples of the weight files; filled in "
            "when the config is resolved. If it is given, other weights are refused."
        ),
    ] = None


class ModelConfig(Table, frozen=True, kw_only=True):
    """The table `model`: the network's shape.

    The number of vocabulary rows is the tokenizer's vocabulary size, rounded up to a multiple of `vocab_multiple`.
    Keys whose default is None follow the layout.
    """

    layout: Annotated[
        Layout, Meta(description="Model family: how the network is built and how its Hugging Face files look.")
    ] = "qwen3"
    layers: Annotated[int, Meta(ge=1, description="Number of transformer blocks.")] = 4
    hidden: Annotated[int, Meta(ge=2, description="Width of the residual stream.")] = 128
    heads: Annotated[int, Meta(ge=1, description="Number of query heads.")] = 4
    kv_heads: Annotated[
        int, Meta(ge=1, description="Number of key/value heads; must divide heads. Some layouts need one per head.")
    ] = 4
    head_dim: Annotated[
        int,
        Meta(
            ge=2,
            description="Width of one head. Must be even for rotary positions; some layouts need hidden / heads.",
        ),
    ] = 32
    ffn: Annotated[int, Meta(ge=1, description="Inner width of the feed-forward block.")] = 384
    context: Annotated[
        int,
        Meta(
            ge=1, description="Longest sequence in tokens; also the training window.", extra={"least": SHORTEST_CONTEXT}
        ),
    ] = 256
    max_context: Annotated[
        int,
        Meta(
            ge=0,
            description="Longest sequence of the model if it is longer than the training window (context), as after "
            "training a model on; 0: context.",
        ),
    ] = 0
    tie_embeddings: Annotated[bool, Meta(description="Share the embedding with the output head.")] = True
    attention_bias: Annotated[
        bool | None,
        Meta(description="Biases in attention, if the layout lets you choose; by default as the layout has them."),
    ] = None
    mlp_bias: Annotated[
        bool | None,
        Meta(description="Biases in the feed-forward block, if the layout lets you choose; by default as it has them."),
    ] = None
    gelu: Annotated[
        Literal["tanh", "exact"],
        Meta(
            description="How a feed-forward block without a gate computes GELU: by its tanh approximation, or exactly."
        ),
    ] = "tanh"
    window: Annotated[
        int,
        Meta(
            ge=0,
            description="Sliding window: each token attends to this many tokens, itself included; 0: to all earlier "
            "ones. Only some layouts have it.",
        ),
    ] = 0
    window_layers: Annotated[
        str,
        Meta(
            max_length=2000,
            description="Layers that have the sliding window: all, or numbers and ranges from 0, such as 0-2,5. The "
            "others attend to all earlier tokens.",
        ),
    ] = "all"
    rope_theta: Annotated[float, Meta(gt=0, description="Base of the rotary position frequencies.")] = 10000.0
    rope_scaling: Annotated[
        Literal["none", "linear", "llama3"],
        Meta(
            description="How rotary positions were stretched for a longer context: linear divides all frequencies by "
            "rope_factor, llama3 only the low ones."
        ),
    ] = "none"
    rope_factor: Annotated[
        float, Meta(ge=1, description="Factor of the stretched rotary positions; only with rope_scaling.")
    ] = 1.0
    rope_low_factor: Annotated[
        float,
        Meta(
            gt=0,
            description="llama3: frequencies with fewer turns than this in rope_original_context tokens are divided by "
            "rope_factor.",
        ),
    ] = 1.0
    rope_high_factor: Annotated[
        float,
        Meta(
            gt=0,
            description="llama3: frequencies with more turns than this in rope_original_context tokens stay as they are.",
        ),
    ] = 4.0
    rope_original_context: Annotated[
        int,
        Meta(ge=0, description="llama3: the context before it was stretched; 0: the longest sequence of the model."),
    ] = 0
    norm_eps: Annotated[float, Meta(gt=0, description="Epsilon of RMSNorm or LayerNorm.")] = 1e-6
    vocab_multiple: Annotated[int, Meta(ge=1, description="Vocabulary rows are rounded up to a multiple of this.")] = 64
    init: Annotated[
        Literal["scaled", "zero-out"],
        Meta(
            description="'scaled': normal, residual projections scaled by depth; 'zero-out': residual projections "
            "and an untied head start at zero."
        ),
    ] = "scaled"

    @property
    def longest_context(self) -> int:
        """The longest sequence in tokens that the model can read: at least the training window."""
        return max(self.context, self.max_context)


class DataConfig(Table, frozen=True, kw_only=True):
    """The table `data`: where text comes from, and how it is split into training and validation."""

    source: Annotated[
        str,
        Meta(
            description="stories, wikitext-2, wikitext-103, text:PATH, hf:NAME[:CONFIG][@COLUMN], or the folder of a "
            "dataset.",
            extra=SOURCE,
        ),
    ] = "stories"
    path: Annotated[str, Meta(description="Local copy of a named corpus (wikitext).", extra=PATH)] = ""
    field: Annotated[str, Meta(description="Text field of jsonl records, text column of csv and parquet.")] = "text"
    encoding: Annotated[
        str,
        Meta(description="Encoding of text files that are not UTF-8, such as cp1252, latin-1, utf-16 or gb18030."),
    ] = ""
    separator: Annotated[
        str,
        Meta(
            description="The separator between documents in a file or record: auto recognises <|endoftext|>, </s> and the "
            "like; none does not split; anything else is the separator itself."
        ),
    ] = "auto"
    validation: Annotated[
        float,
        Meta(
            gt=0,
            lt=1,
            description="Fraction of documents used for validation if the source has no validation split.",
        ),
    ] = 0.05
    validation_path: Annotated[
        str, Meta(description="File or folder of validation text for text:PATH, instead of a split.", extra=PATH)
    ] = ""
    stories: Annotated[int, Meta(ge=2, le=100_000_000, description="Number of stories in the built-in corpus.")] = 20000
    max_documents: Annotated[int, Meta(ge=0, description="Stop after this many documents; 0 reads all.")] = 0
    document_mask: Annotated[bool, Meta(description="Attention does not cross document borders.")] = False
    loss: Annotated[
        Literal["assistant", "targets", "all"],
        Meta(
            description="What the loss counts in a dataset: 'assistant': in conversations the assistant's turns, else all; "
            "'targets': also of code with a gap only what fills it; 'all': every token."
        ),
    ] = "assistant"
    workers: Annotated[
        int, Meta(ge=0, le=1024, description="Processes or threads that tokenise; 0 uses every core.")
    ] = 0


class TokenizerConfig(Table, frozen=True, kw_only=True):
    """The table `tokenizer`: how text is turned into token ids."""

    kind: Annotated[
        Literal["bpe", "wordpiece", "unigram", "char"], Meta(description="Algorithm of a newly trained tokenizer.")
    ] = "bpe"
    vocab_size: Annotated[
        int, Meta(ge=2, description="Largest vocabulary to train, special tokens included; small data gives fewer.")
    ] = 4096
    split: Annotated[
        Literal["qwen2", "gpt-2"], Meta(description="Pre-tokeniser split pattern of the byte-level BPE.")
    ] = "qwen2"
    path: Annotated[
        str, Meta(description="Reuse the tokenizer in this folder instead of training one.", extra=PATH)
    ] = ""
    sample_bytes: Annotated[int, Meta(ge=1, description="Train the tokenizer on at most this much text, in bytes.")] = (
        100_000_000
    )


class OptimizerConfig(Table, frozen=True, kw_only=True):
    """The table `optimizer`: how parameters are updated."""

    name: Annotated[
        Literal["adamw", "muon"],
        Meta(description="adamw for everything, or muon for matrices and adamw for the rest."),
    ] = "muon"
    lr: Annotated[float, Meta(ge=0, description="Peak learning rate of matrices (muon) or everything (adamw).")] = 0.02
    adam_lr: Annotated[
        float,
        Meta(
            ge=0,
            description="Peak learning rate of what muon leaves to AdamW (embedding, norms, biases); not used with "
            "adamw.",
        ),
    ] = 0.01
    head_lr: Annotated[
        float, Meta(ge=0, description="Peak learning rate of an untied output head under muon; 0 means adam_lr.")
    ] = 0.0
    beta1: Annotated[float, Meta(ge=0, lt=1, description="AdamW's decay of the first moment.")] = 0.9
    beta2: Annotated[float, Meta(ge=0, lt=1, description="AdamW's decay of the second moment.")] = 0.95
    eps: Annotated[float, Meta(gt=0, description="AdamW's epsilon.")] = 1e-8
    momentum: Annotated[float, Meta(ge=0, lt=1, description="Muon's Nesterov momentum.")] = 0.95
    ns_steps: Annotated[int, Meta(ge=1, le=12, description="Muon's Newton-Schulz iterations.")] = 5
    weight_decay: Annotated[float, Meta(ge=0, description="Decoupled weight decay of matrices.")] = 0.0
    grad_clip: Annotated[float, Meta(ge=0, description="Global gradient-norm limit; 0 turns clipping off.")] = 1.0


class ScheduleConfig(Table, frozen=True, kw_only=True):
    """The table `schedule`: how the learning rate changes over the run."""

    kind: Annotated[
        Literal["cosine", "linear", "constant", "wsd"],
        Meta(description="Shape after warm-up; wsd = warm-up, stable, linear decay."),
    ] = "wsd"
    warmup: Annotated[float, Meta(ge=0, le=1, description="Warm-up as a fraction of the run.")] = 0.02
    decay: Annotated[float, Meta(ge=0, le=1, description="Final decay of wsd as a fraction of the run.")] = 0.5
    floor: Annotated[float, Meta(ge=0, le=1, description="Last learning rate as a fraction of the peak.")] = 0.0


class TrainConfig(Table, frozen=True, kw_only=True):
    """The table `train`: length of the run, batch, precision, and when to validate, sample and save."""

    steps: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_STEPS)] | None,
        Meta(description="How long to train, in optimizer steps.", extra=HORIZON),
    ] = None
    epochs: Annotated[
        Annotated[float, Meta(gt=0, le=1e9)] | None,
        Meta(description="How long to train, in passes over the training text.", extra=HORIZON),
    ] = None
    tokens: Annotated[PositiveInt | None, Meta(description="How long to train, in trained tokens.", extra=HORIZON)] = (
        None
    )
    time: Annotated[
        Annotated[str, Meta(max_length=40)] | None,
        Meta(
            description="How long to train, as a time such as 90s, 20m or 8h. All the work of the run counts: data, "
            "compilation, validations and the last save. Pauses do not count.",
            extra=HORIZON,
        ),
    ] = None
    size: Annotated[
        Literal["given", "auto"],
        Meta(
            description="'given': the model of this config; 'auto': choose the model's size, batch and learning rates for "
            "train.time, from the measured speed of this machine. 'auto' is the default with train.time alone, without a "
            "preset or a model size."
        ),
    ] = "given"
    keep: Annotated[
        tuple[str, ...],
        Meta(description="Keys that size = auto does not change; by default, all that a file or an option sets."),
    ] = ()
    batch_size: Annotated[int, Meta(ge=1, description="Sequences in one optimizer step.")] = 16
    micro_batch: Annotated[
        int, Meta(ge=0, description="Sequences in one forward pass; 0 means batch_size. Must divide batch_size.")
    ] = 0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Seed of weights, data order and sampling.")] = 1337
    device: Annotated[
        str, Meta(description="auto, cpu, gpu, cuda, cuda:N, mps, or part of a GPU's name such as A30.", extra=DEVICE)
    ] = "auto"
    strict_device: Annotated[
        bool, Meta(description="Fail, instead of warning, if the requested device is not available.")
    ] = False
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Meta(description="Compute precision; the master weights are always fp32."),
    ] = "auto"
    compile: Annotated[
        Literal["auto", "on", "off"], Meta(description="torch.compile; auto: only if the run is long enough to gain.")
    ] = "auto"
    threads: Annotated[
        int, Meta(ge=0, le=4096, description="CPU threads; 0: as PyTorch chooses, at most the usable cores.")
    ] = 0
    prefetch: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Batches that a thread prepares in advance; 2 can help a GPU, but not a CPU. The batches stay the "
            "same.",
        ),
    ] = 0
    pin_memory: Annotated[
        bool, Meta(description="Page-lock batches, for faster copies to a CUDA GPU; uses RAM that cannot be swapped.")
    ] = False
    eval_every: Annotated[int, Meta(ge=0, description="Steps between validations; 0 validates only at the end.")] = 200
    eval_tokens: Annotated[
        int,
        Meta(
            ge=0,
            description="Tokens that each validation evaluates; 0 for all. After the last step all are evaluated, too: this "
            "final loss is not compared with the others.",
        ),
    ] = 0
    sample_every: Annotated[int, Meta(ge=0, description="Steps between samples; 0 samples only at the end.")] = 0
    sample_prompts: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Prompts of the samples written during training; by default, a common opening of the "
            "training texts; [] writes no samples."
        ),
    ] = None
    sample_tokens: Annotated[int, Meta(ge=1, le=1_000_000, description="Tokens in each sample.")] = 60
    checkpoint_every: Annotated[int, Meta(ge=0, description="Steps between checkpoints; 0 saves only at the end.")] = (
        500
    )
    keep_last: Annotated[int, Meta(ge=1, description="Newest checkpoints to keep.")] = 2
    keep_best: Annotated[bool, Meta(description="Also keep the checkpoint with the lowest validation loss.")] = True
    keep_every: Annotated[
        int, Meta(ge=0, description="Also keep checkpoints whose step is a multiple of this; 0 turns it off.")
    ] = 0
    early_stop: Annotated[
        int, Meta(ge=0, description="Stop after this many validations without a better loss; 0 never.")
    ] = 0


class Config(Table, frozen=True, kw_only=True):
    """The config of a training run, with all its tables (the schema of the kind of config `train`)."""

    preset: str = "nano"
    base: BaseConfig = BaseConfig()
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig = TrainConfig()
