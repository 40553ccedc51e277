"""Generate tokens and text from a decoder: sampling, the decode loop, and stop strings.

A prompt of text starts with the ids that the tokenizer puts before a text, such as beginning-of-text; an empty one without
such ids starts from the end-of-text id. If a prompt leaves no room in the context, only its last
`context - min(max_new_tokens, context / 2)` tokens are used. When the context is full, its last half is read again from
position 0 and generation continues. In both cases the ids before the text stay.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from seedbed.errors import SeedbedError, UsageError
from seedbed.model.cache import KVCache
from seedbed.model.decode_step import DecodeStep
from seedbed.model.decoder import Decoder
from seedbed.tokenizer.incremental_decoder import IncrementalDecoder

_FP32 = torch.finfo(torch.float32)


class TextCodec(Protocol):
    """The attributes and methods of a tokenizer that text generation uses (a Protocol)."""

    @property
    def eot_id(self) -> int: ...
    @property
    def stop_ids(self) -> frozenset[int]: ...
    @property
    def prefix_ids(self) -> tuple[int, ...]: ...
    @property
    def vocab_size(self) -> int: ...
    def encode(self, text: str) -> list[int]: ...
    def decoder(self) -> IncrementalDecoder: ...


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings for choosing the next token. The defaults sample from the model's own distribution.

    `temperature` 0 takes the most likely token. `top_k` 0, `top_p` 1, `min_p` 0 and `repetition_penalty` 1 are off. The
    order is that of transformers: penalty, temperature, top-k, top-p, min-p. Raises UsageError for invalid values.
    """

    max_new_tokens: int = 100
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _bounded("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 0, "0 or more")
        _bounded("temperature", self.temperature, 0 <= self.temperature < float("inf"), "0 (greedy) or more")
        _bounded("top_k", self.top_k, self.top_k >= 0, "0 (off) or more")
        _bounded("top_p", self.top_p, 0 < self.top_p <= 1, "a number above 0 and at most 1 (1: off)")
        _bounded("min_p", self.min_p, 0 <= self.min_p <= 1, "a number from 0 (off) to 1")
        penalty = self.repetition_penalty
        _bounded("repetition_penalty", penalty, 0 < penalty < float("inf"), "a number above 0 (1: off)")
        _bounded("stop", "an empty string", all(self.stop), "a text at which generation stops")
        _bounded("seed", self.seed, -(2**63) <= self.seed < 2**63, "a 64-bit integer")


def _bounded(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        option = "--" + name.replace("_", "-")
        raise UsageError(f"{option} is {value}, which is not allowed.", f"Use {allowed}.")


# ------------------------------------------------------------------------------------------------ samplers


def next_probabilities(logits_V: Tensor, seen: Tensor, sampling: Sampling) -> Tensor:
    """The fp32 probabilities [V] from which the next token is drawn. `seen`: ids of the prompt and continuation so far.

    Temperature must be above 0. Penalty: CTRL (arXiv 1909.05858); top-p: arXiv 1904.09751; min-p: arXiv 2407.01082; the
    details (tokens with equal scores are kept, the token that crosses p is kept) are those of transformers' logits processors.
    """
    scores = apply_repetition_penalty(logits_V.float(), seen, sampling.repetition_penalty)
    # All scores are 0 or less, so no temperature overflows; a temperature that fp32 rounds to 0 would give 0 / 0.
    scores = (scores - scores.max()) / max(sampling.temperature, _FP32.tiny)
    if 0 < sampling.top_k < scores.shape[-1]:
        scores = scores.masked_fill(scores < scores.topk(sampling.top_k).values[-1], -torch.inf)
    if sampling.top_p < 1.0:
        ascending, order = scores.sort(stable=True)
        removed = ascending.softmax(-1).cumsum(-1) <= 1.0 - sampling.top_p
        removed[-1] = False
        scores = scores.masked_fill(torch.zeros_like(removed).scatter(0, order, removed), -torch.inf)
    if sampling.min_p > 0.0:
        probabilities = scores.softmax(-1)
        scores = scores.masked_fill(probabilities < sampling.min_p * probabilities.max(), -torch.inf)
    return scores.softmax(-1)


def apply_repetition_penalty(scores_V: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """The scores, with those of `seen` ids lowered: positive ones divided by `penalty`, negative ones multiplied by it."""
    if penalty == 1.0 or not seen.numel():
        return scores_V
    scores = scores_V[seen]
    penalty = min(max(penalty, _FP32.tiny), _FP32.max)  # 0 * inf and 0 / 0 are NaN
    changed = torch.where(scores < 0, scores * penalty, scores / penalty).clamp(_FP32.min, _FP32.max)
    return scores_V.scatter(0, seen, changed)


def sample_token(logits_V: Tensor, seen: Tensor | None, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token id: the most likely one at temperature 0, else one drawn with the (CPU) generator.

    `seen`: ids whose repetition is penalised. Raises SeedbedError if the model's output is NaN or infinite.
    """
    greedy, first = sampling.temperature == 0.0, logits_V.argmax()
    if not math.isfinite(float(logits_V[first])):  # argmax takes NaN for the largest
        raise SeedbedError(
            "The model's output is NaN or infinite, so no token can be chosen.",
            "The weights are invalid, probably because training diverged. Generate from an earlier checkpoint.",
        )
    if greedy and seen is None:
        return int(first)
    seen = first[None][:0] if seen is None else seen
    if greedy:
        return int(apply_repetition_penalty(logits_V.float(), seen, sampling.repetition_penalty).argmax())
    probabilities = next_probabilities(logits_V, seen, sampling)
    return int(torch.multinomial(probabilities.cpu(), 1, generator=generator))


# ------------------------------------------------------------------------------------------------ the loop


def fit_prompt(
    prompt_ids: Sequence[int], sampling: Sampling, *, context: int, eot_id: int, num_kept: int = 0
) -> list[int]:
    """The prompt ids that the model reads: end-of-text for an empty prompt, the last ids of a prompt that is too long.

    The first `num_kept` ids stay in any case.
    """
    if not prompt_ids:
        return [eot_id]
    dropped = tokens_over(len(prompt_ids), sampling.max_new_tokens, context)
    return _last(prompt_ids, len(prompt_ids) - dropped, num_kept)


def tokens_over(num_tokens: int, max_new_tokens: int, context: int) -> int:
    """How many tokens of a prompt of `num_tokens` the model does not read, so that there is room for new ones."""
    if num_tokens + max_new_tokens <= context:
        return 0
    return max(num_tokens - max(1, context - min(max_new_tokens, context // 2)), 0)


def _last(ids: Sequence[int], length: int, num_kept: int) -> list[int]:
    """The last `length` ids; the first of them are the first `num_kept` ids of all, if there is room for them."""
    if len(ids) <= length:
        return list(ids)
    num_kept = num_kept if num_kept < length else 0
    return [*ids[:num_kept], *ids[len(ids) - (length - num_kept) :]]


@torch.inference_mode()
def generate(
    model: Decoder,
    prompt_ids: Sequence[int],
    sampling: Sampling,
    *,
    eot_id: int,
    stop_ids: Collection[int] = (),
    num_kept: int = 0,
    generator: torch.Generator | None = None,
    vocab_size: int | None = None,
) -> Iterator[int]:
    """Generate token ids after a prompt: yield them one by one, until `eot_id` or one of `stop_ids` (not yielded) is chosen.

    Yields at most `sampling.max_new_tokens` ids. `num_kept`: the first ids of the prompt, which stay when others must be
    dropped. `vocab_size`: higher ids (padding rows of the embedding) are never chosen. `generator` (CPU) defaults to one
    seeded with `sampling.seed`. Raises UsageError for ids in the prompt that the model does not have.
    """
    config, device = model.config, model.embed.weight.device
    draws = torch.Generator().manual_seed(sampling.seed) if generator is None else generator
    limit = model.vocab_rows if vocab_size is None else min(vocab_size, model.vocab_rows)
    foreign = [id_ for id_ in prompt_ids if not 0 <= id_ < model.vocab_rows]
    if foreign:
        raise UsageError(
            f"The prompt contains token id {foreign[0]}, but the model has token ids 0 to {model.vocab_rows - 1}.",
            "Use the tokenizer that the model was trained with.",
        )
    if sampling.max_new_tokens == 0:
        return
    ends = {eot_id, *stop_ids}
    window = fit_prompt(prompt_ids, sampling, context=config.longest_context, eot_id=eot_id, num_kept=num_kept)
    cache = KVCache(
        config,
        max_length=min(config.longest_context, len(window) + sampling.max_new_tokens),
        device=device,
        dtype=model.embed.weight.dtype,
    )
    seen = torch.zeros(model.vocab_rows, dtype=torch.bool, device=device)
    seen[list(prompt_ids) or [eot_id]] = True
    penalise = sampling.repetition_penalty != 1.0
    fresh, step = window, None
    for _ in range(sampling.max_new_tokens):
        if cache.length + len(fresh) > config.longest_context:
            fresh = _last(window, max(1, config.longest_context // 2), num_kept)
            window = list(fresh)
            cache.clear()
        next_step = None
        if len(fresh) == 1 and cache.length:
            next_step = step = step or DecodeStep(model, cache)
        with next_step.settings() if next_step else nullcontext():
            if next_step:
                logits_V = next_step(fresh[0])[:limit]
            else:
                logits_V = last_logits(model, torch.tensor([fresh], device=device), cache)[0, :limit]
            repeated = seen[:limit].nonzero().flatten() if penalise else None
            chosen = sample_token(logits_V, repeated, sampling, draws)
        if chosen in ends:
            return
        yield chosen
        seen[chosen] = True
        window.append(chosen)
        fresh = [chosen]


def last_logits(model: Decoder, ids_BT: Tensor, cache: KVCache) -> Tensor:
    """Logits [B, V] for the token after `ids_BT`, which follow the cached tokens. No other logits are computed."""
    x_BTC = model.hidden_states(ids_BT, None, None, cache)
    return torch.nn.functional.linear(x_BTC[:, -1], model.output_weight)


# ------------------------------------------------------------------------------------------------ text


class GeneratedText:
    """Generates the text after a prompt, in pieces that never end inside a character or contain part of a stop string.

    The prompt is a text to continue, or the token ids of a chat, after which an answer begins. A text that is too long is
    cut (see above); of a chat, nothing is cut, so its answer ends at the latest where the context is full. Iterate once.
    Afterwards `finish` is "stop" (a stop string or the end of text) or "length", and `num_tokens` counts the generated
    tokens, including those of a stop string. Joined, the pieces are the continuation without the prompt.
    """

    def __init__(self, model: Decoder, tokenizer: TextCodec, prompt: str | Sequence[int], sampling: Sampling) -> None:
        self._model, self._tokenizer, self._prompt, self._sampling = model, tokenizer, prompt, sampling
        self.num_tokens = 0
        self.finish = "length"

    def __iter__(self) -> Iterator[str]:
        tokenizer, sampling, stop = self._tokenizer, self._sampling, StopText(self._sampling.stop)
        text = tokenizer.decoder()
        if isinstance(self._prompt, str):
            prefix = tokenizer.prefix_ids
            prompt_ids = [*prefix, *tokenizer.encode(self._prompt)]
            for id_ in prompt_ids:
                text.push(id_)  # keeps a space between prompt and continuation
        else:
            prefix, prompt_ids = (), list(self._prompt)
            room = max(self._model.config.longest_context - len(prompt_ids), 0)  # a chat is never cut
            sampling = replace(sampling, max_new_tokens=min(sampling.max_new_tokens, room))
        self.num_tokens, self.finish = 0, "stop"
        ids = generate(
            self._model,
            prompt_ids,
            sampling,
            eot_id=tokenizer.eot_id,
            stop_ids=tokenizer.stop_ids,
            num_kept=len(prefix),
            vocab_size=tokenizer.vocab_size,
        )
        for id_ in ids:
            self.num_tokens += 1
            yield from stop.push(text.push(id_))
            if stop.found:
                return
        if self.num_tokens == sampling.max_new_tokens:
            self.finish = "length"
        yield from stop.push(text.flush())
        if stop.found:
            self.finish = "stop"
            return
        yield from stop.flush()


class StopText:
    """Ends a stream of text before the first stop string. Holds back text that may be the start of a stop string."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._buffered = ""
        self.found = False

    def push(self, piece: str) -> Iterator[str]:
        """Add the next piece of text, and yield all buffered text that cannot belong to a stop string."""
        self._buffered += piece
        starts = [at for word in self._stop if (at := self._buffered.find(word)) >= 0]
        if starts:
            self.found = True
            safe, self._buffered = self._buffered[: min(starts)], ""
        else:
            keep = max((self._overlap(word) for word in self._stop), default=0)
            cut = len(self._buffered) - keep
            safe, self._buffered = self._buffered[:cut], self._buffered[cut:]
        if safe:
            yield safe

    def flush(self) -> Iterator[str]:
        """Yield the text that is still held back. Call this after the last piece."""
        if self._buffered:
            yield self._buffered
        self._buffered = ""

    def _overlap(self, word: str) -> int:
        """Length of the longest suffix of the buffered text that is a prefix of `word`."""
        longest = min(len(word) - 1, len(self._buffered))
        return next((size for size in range(longest, 0, -1) if word.startswith(self._buffered[-size:])), 0)


def text_stream(model: Decoder, tokenizer: TextCodec, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[str]:
    """Generate the text after `prompt` and yield it in pieces; see GeneratedText."""
    return iter(GeneratedText(model, tokenizer, prompt, sampling))
