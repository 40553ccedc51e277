"""How each layout maps to Hugging Face: tensor names, config.json, and back. Reads and writes no file.

Fused parameters of ours are several tensors there, named and sliced by the tables below. A third layout is one more
`Family` in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError
from seedbed.model.decoder import Decoder

Role = Literal["matrix", "embedding", "head", "vector"]


class SpecialIds(Protocol):
    """What a config needs of a tokenizer: the ids that end a text and fill a batch."""

    @property
    def eot_id(self) -> int: ...
    @property
    def pad_id(self) -> int: ...


class LogicalParameter(NamedTuple):
    """One matrix or vector in the mathematical sense, whatever it is fused with.

    `name` is unique: the Hugging Face tensor's name, plus ":q", ":k" or ":v" where that tensor is fused itself.
    `rows` slices dimension 0 of `parameter` (None: all of it). `transposed`: Hugging Face stores [in, out] (Conv1D).
    """

    name: str
    parameter: nn.Parameter
    rows: slice | None
    role: Role
    transposed: bool


class Piece(NamedTuple):
    """A slice of one of our parameters and the Hugging Face tensor that holds it."""

    ours: str
    theirs: str
    role: Role
    rows: slice | None = None
    part: str = ""  # distinguishes the pieces of a tensor that Hugging Face fuses too
    transposed: bool = False


class Family(NamedTuple):
    """One layout's tables."""

    model_type: str
    pieces: Callable[[ModelConfig], Iterator[Piece]]
    to_hf: Callable[[ModelConfig, int], dict[str, Any]]
    from_hf: Callable[[Mapping[str, Any]], tuple[ModelConfig, int]]
    prefix: str  # that some published files leave out
    ignored: tuple[str, ...]  # endings of tensors that are facts, not weights


# ------------------------------------------------------------------------------------------------ from and to a Decoder


def logical_parameters(model: Decoder) -> list[LogicalParameter]:
    """Every trainable matrix and vector once, in a fixed order; a tied head is the embedding's entry."""
    parameters = dict(model.named_parameters())
    return [
        LogicalParameter(p.theirs + (p.part and f":{p.part}"), parameters[p.ours], p.rows, p.role, p.transposed)
        for p in FAMILIES[model.config.layout].pieces(model.config)
    ]


def export_state(model: Decoder) -> dict[str, Tensor]:
    """The weights under Hugging Face names, contiguous, in the model's dtype; a tied head is left out.

    Tensors that need no slicing or transposing share memory with the model: copy before training goes on.
    """
    parameters = dict(model.named_parameters())
    parts: dict[str, list[Tensor]] = {}
    for piece in FAMILIES[model.config.layout].pieces(model.config):
        tensor = parameters[piece.ours].detach()
        tensor = tensor if piece.rows is None else tensor[piece.rows]
        parts.setdefault(piece.theirs, []).append(tensor.t() if piece.transposed else tensor)
    whole = {name: torch.cat(found, dim=-1) if len(found) > 1 else found[0] for name, found in parts.items()}
    return {name: tensor.contiguous() for name, tensor in whole.items()}


@torch.no_grad()
def load_state(model: Decoder, tensors: Mapping[str, Tensor]) -> None:
    """Copy weights with Hugging Face names into `model`, casting to its dtype; nothing changes unless all of them fit.

    Raises SeedbedError naming every missing, extra or misshapen tensor.
    """
    parameters = dict(model.named_parameters())
    given = _normalised(model, tensors)
    expected = export_shapes(model)
    wrong = [f"missing {name}" for name in expected if name not in given]
    wrong += [f"unexpected {name}" for name in given if name not in expected]
    wrong += [
        f"{name} has shape {list(given[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in given and tuple(given[name].shape) != shape
    ]
    if wrong:
        shown = "; ".join(wrong[:8]) + (f"; and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise SeedbedError(
            f"These weights do not fit a {model.config.layout} model of this shape: {shown}.",
            "Use the config that the weights were saved with; the files may belong to another model.",
        )
    taken: dict[str, int] = {}
    for piece in FAMILIES[model.config.layout].pieces(model.config):
        target = parameters[piece.ours] if piece.rows is None else parameters[piece.ours][piece.rows]
        source = given[piece.theirs]
        if piece.transposed:
            begin = taken.get(piece.theirs, 0)
            taken[piece.theirs] = begin + target.shape[0]
            source = source[:, begin : begin + target.shape[0]].t()
        target.copy_(source)


def export_shapes(model: Decoder) -> dict[str, tuple[int, ...]]:
    """The Hugging Face names of a model's tensors with their shapes; works on the meta device, too."""
    parameters = dict(model.named_parameters())
    shapes: dict[str, tuple[int, ...]] = {}
    for piece in FAMILIES[model.config.layout].pieces(model.config):
        shape = list(parameters[piece.ours].shape)
        if piece.rows is not None:
            shape[0] = piece.rows.stop - piece.rows.start
        if piece.transposed:
            shape.reverse()
        if piece.theirs in shapes:
            shape[-1] += shapes[piece.theirs][-1]
        shapes[piece.theirs] = tuple(shape)
    return shapes


def _normalised(model: Decoder, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published variants of the names made one: a left-out prefix, stored masks, a tied head stored twice."""
    family = FAMILIES[model.config.layout]
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(family.ignored)}
    if not any(name.startswith(family.prefix) for name in kept):
        kept = {name if name == "lm_head.weight" else family.prefix + name: tensor for name, tensor in kept.items()}
    embedding = next(piece.theirs for piece in family.pieces(model.config) if piece.ours == "embed.weight")
    if model.head is None and embedding in kept and "lm_head.weight" in kept:
        head = kept.pop("lm_head.weight")
        if head.shape != kept[embedding].shape or not torch.equal(head, kept[embedding]):
            raise SeedbedError(
                "config.json says that head and embedding are tied, but the weights hold a different lm_head.weight.",
                'Set "tie_word_embeddings" to false in config.json.',
            )
    return kept


# ------------------------------------------------------------------------------------------------ config.json


def hf_config(config: ModelConfig, vocab_rows: int, ids: SpecialIds, dtype: str = "float32") -> dict[str, Any]:
    """The config.json of a model: in the names that transformers reads, of version 4 and of version 5."""
    family = FAMILIES[config.layout]
    return {
        **family.to_hf(config, vocab_rows),
        "model_type": family.model_type,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": ids.eot_id,
        "eos_token_id": ids.eot_id,
        "pad_token_id": ids.pad_id,
        "initializer_range": 0.02,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,  # the name that readers older than transformers 5 know
    }


def generation_config(ids: SpecialIds) -> dict[str, Any]:
    """The generation_config.json of a model: where a text ends, and nothing that would change its distribution."""
    return {
        "bos_token_id": ids.eot_id,
        "eos_token_id": ids.eot_id,
        "pad_token_id": ids.pad_id,
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
    }


def config_from_hf(config: Mapping[str, Any]) -> tuple[ModelConfig, int]:
    """Our shape and the number of vocabulary rows from a parsed config.json.

    Raises SeedbedError for another architecture, for an option that would change the logits and that we lack, and for
    a key that is missing.
    """
    for family in FAMILIES.values():
        if family.model_type == config.get("model_type"):
            try:
                return family.from_hf(config)
            except KeyError as error:
                raise SeedbedError(
                    f"config.json has no {error}.", "Restore the one that was saved with the weights."
                ) from error
    known = ", ".join(family.model_type for family in FAMILIES.values())
    raise SeedbedError(
        f"Model type {config.get('model_type')!r} is not one that Seedbed's decoder can run.", f"It runs: {known}."
    )


def _require(config: Mapping[str, Any], wanted: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse options that change the logits; an absent key has the first value listed."""
    for key, values in wanted.items():
        if config.get(key, values[0]) not in values:
            raise SeedbedError(
                f"config.json has {key} = {config[key]!r}, which Seedbed's decoder does not do.",
                f"It does {' or '.join(repr(value) for value in values)}.",
            )


# ------------------------------------------------------------------------------------------------ qwen3


def _qwen3_pieces(config: ModelConfig) -> Iterator[Piece]:
    q, kv, F, D = config.heads * config.head_dim, config.kv_heads * config.head_dim, config.ffn, config.head_dim
    yield Piece("embed.weight", "model.embed_tokens.weight", "embedding")
    for i in range(config.layers):
        ours, theirs = f"blocks.{i}.", f"model.layers.{i}."
        yield Piece(ours + "norm_1.weight", theirs + "input_layernorm.weight", "vector")
        fused, attention = ours + "attention.qkv.weight", theirs + "self_attn."
        yield Piece(fused, attention + "q_proj.weight", "matrix", slice(0, q))
        yield Piece(fused, attention + "k_proj.weight", "matrix", slice(q, q + kv))
        yield Piece(fused, attention + "v_proj.weight", "matrix", slice(q + kv, q + 2 * kv))
        yield Piece(ours + "attention.qk_gain", attention + "q_norm.weight", "vector", slice(0, D))
        yield Piece(ours + "attention.qk_gain", attention + "k_norm.weight", "vector", slice(D, 2 * D))
        yield Piece(ours + "attention.out.weight", attention + "o_proj.weight", "matrix")
        yield Piece(ours + "norm_2.weight", theirs + "post_attention_layernorm.weight", "vector")
        yield Piece(ours + "mlp.gate_up.weight", theirs + "mlp.gate_proj.weight", "matrix", slice(0, F))
        yield Piece(ours + "mlp.gate_up.weight", theirs + "mlp.up_proj.weight", "matrix", slice(F, 2 * F))
        yield Piece(ours + "mlp.down.weight", theirs + "mlp.down_proj.weight", "matrix")
    yield Piece("norm.weight", "model.norm.weight", "vector")
    if not config.tie_embeddings:
        yield Piece("head.weight", "lm_head.weight", "head")


def _qwen3_to_hf(config: ModelConfig, vocab_rows: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "vocab_size": vocab_rows,
        "hidden_size": config.hidden,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": None,
        # The newer spelling; readers of either find theirs.
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": config.layers,
    }


def _qwen3_from_hf(config: Mapping[str, Any]) -> tuple[ModelConfig, int]:
    _require(config, {"hidden_act": ("silu",), "attention_bias": (False,), "use_sliding_window": (False,)})
    rope = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or {}
    for key, table in (("rope_parameters", rope), ("rope_scaling", scaling)):
        kind = table.get("rope_type", table.get("type", "default"))
        if kind != "default":
            raise SeedbedError(
                f"config.json has {key} of type {kind!r}, which Seedbed's decoder does not do.", "It does 'default'."
            )
    heads = config["num_attention_heads"]
    shape = ModelConfig(
        layout="qwen3",
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads", heads),
        head_dim=config.get("head_dim", 128),  # transformers' own default, whatever hidden / heads is
        ffn=config["intermediate_size"],
        context=config["max_position_embeddings"],
        tie_embeddings=config.get("tie_word_embeddings", False),
        rope_theta=float(rope.get("rope_theta", config.get("rope_theta", 10000.0))),
        norm_eps=config.get("rms_norm_eps", 1e-6),
        vocab_multiple=1,
    )
    return shape, config["vocab_size"]


# ------------------------------------------------------------------------------------------------ gpt2


def _gpt2_pieces(config: ModelConfig) -> Iterator[Piece]:
    C = config.hidden
    yield Piece("embed.weight", "transformer.wte.weight", "embedding")
    yield Piece("positions.weight", "transformer.wpe.weight", "embedding")
    for i in range(config.layers):
        ours, theirs = f"blocks.{i}.", f"transformer.h.{i}."
        for kind in ("weight", "bias"):
            yield Piece(f"{ours}norm_1.{kind}", f"{theirs}ln_1.{kind}", "vector")
        for part, begin in (("q", 0), ("k", C), ("v", 2 * C)):
            rows = slice(begin, begin + C)
            yield Piece(ours + "attention.qkv.weight", theirs + "attn.c_attn.weight", "matrix", rows, part, True)
        yield Piece(ours + "attention.qkv.bias", theirs + "attn.c_attn.bias", "vector")
        for inner, outer in (("attention.out", "attn.c_proj"), ("mlp.up", "mlp.c_fc"), ("mlp.down", "mlp.c_proj")):
            if inner == "mlp.up":
                for kind in ("weight", "bias"):
                    yield Piece(f"{ours}norm_2.{kind}", f"{theirs}ln_2.{kind}", "vector")
            yield Piece(f"{ours}{inner}.weight", f"{theirs}{outer}.weight", "matrix", transposed=True)
            yield Piece(f"{ours}{inner}.bias", f"{theirs}{outer}.bias", "vector")
    for kind in ("weight", "bias"):
        yield Piece(f"norm.{kind}", f"transformer.ln_f.{kind}", "vector")
    if not config.tie_embeddings:
        yield Piece("head.weight", "lm_head.weight", "head")


def _gpt2_to_hf(config: ModelConfig, vocab_rows: int) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": vocab_rows,
        "n_positions": config.context,
        "n_ctx": config.context,
        "n_embd": config.hidden,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.ffn,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
    }


def _gpt2_from_hf(config: Mapping[str, Any]) -> tuple[ModelConfig, int]:
    _require(
        config,
        {
            "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
    )
    hidden, heads = config["n_embd"], config["n_head"]
    shape = ModelConfig(
        layout="gpt2",
        layers=config["n_layer"],
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn=config.get("n_inner") or 4 * hidden,
        context=config["n_positions"],
        tie_embeddings=config.get("tie_word_embeddings", True),
        norm_eps=config.get("layer_norm_epsilon", 1e-5),
        vocab_multiple=1,
    )
    return shape, config["vocab_size"]


FAMILIES: dict[str, Family] = {
    "qwen3": Family("qwen3", _qwen3_pieces, _qwen3_to_hf, _qwen3_from_hf, "model.", ("rotary_emb.inv_freq",)),
    "gpt2": Family(
        "gpt2", _gpt2_pieces, _gpt2_to_hf, _gpt2_from_hf, "transformer.", (".attn.bias", ".attn.masked_bias")
    ),
}
