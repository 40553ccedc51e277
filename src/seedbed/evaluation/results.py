"""The results of an evaluation as JSON values: a row per model, the differences of models, the text and the method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any, NamedTuple

from seedbed.config.evaluation import Evaluation
from seedbed.evaluation.corpus import FEWEST_DOCUMENTS, Text
from seedbed.evaluation.progress import ModelFacts
from seedbed.evaluation.row_source import Rendering
from seedbed.evaluation.statistics import (
    CONFIDENCE,
    FEWEST_UNITS,
    RESAMPLES,
    Difference,
    Estimate,
    ModelEstimate,
    UnitScores,
    estimates,
)
from seedbed.text import plural

FORMAT = 1


class Scored(NamedTuple):
    """A model with its scores, and the seconds that scoring took."""

    facts: ModelFacts
    scores: UnitScores
    elapsed_s: float


def results(task: str, config: Evaluation, text: Text, scored: Sequence[Scored]) -> dict[str, Any]:
    """The results of the evaluation `task` (its id) as a JSON object. Numbers that are infinite are null."""
    found, differences = estimates([each.scores for each in scored], config.evaluate.seed)
    return {
        "format": FORMAT,
        "evaluation": task,
        "data": {
            "source": config.data.source,
            "name": text.name,
            "split": text.split,
            "source_documents": text.source_documents,
            "documents": text.documents,
            "bytes": text.size_bytes,
            "sha256": text.digest,
        },
        "method": {
            "seed": config.evaluate.seed,
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "unit": "row" if text.rows is not None else "block" if text.block_characters else "document",
            "units": text.units,
        },
        "models": [_model(each, estimate) for each, estimate in zip(scored, found, strict=True)],
        "differences": [_difference(each, scored) for each in differences],
        "notes": list(_notes(config, text, scored)),
    }


def sentence(model: dict[str, Any]) -> str:
    """The result of one model, a row of the results, as a sentence."""
    low, high = model["bits_per_byte_low"], model["bits_per_byte_high"]
    interval = f" ({low:.4f} to {high:.4f})" if low is not None else ""
    loss = f"loss {model['loss']:.4f} over {plural(model['tokens'], 'token')}"
    return f"{model['name']}: {model['bits_per_byte']:.4f} bits per byte{interval}, {loss}."


def _model(scored: Scored, estimate: ModelEstimate) -> dict[str, Any]:
    facts, scores, elapsed_s = scored
    tokens = int(scores.tokens.sum())
    return {
        "name": facts.name,
        "path": facts.path,
        "family": facts.family,
        "parameters": facts.parameters,
        "vocabulary": facts.vocabulary,
        "tokens": tokens,
        "bytes": int(scores.num_bytes.sum()),
        **_fields("loss", estimate.loss),
        **_fields("perplexity", estimate.perplexity),
        **_fields("bits_per_byte", estimate.bits_per_byte),
        "nats": float(scores.nats.sum()),
        "context": facts.context,
        "stride": facts.stride,
        "prefix": facts.prefix,
        "weights": facts.weights,
        "tokenizer": facts.tokenizer,
        "precision": facts.precision,
        "device": facts.device,
        "elapsed_s": elapsed_s,
        "tokens_per_s": tokens / elapsed_s if elapsed_s > 0 else None,
    }


def _fields(name: str, estimate: Estimate) -> dict[str, float | None]:
    values = zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True)
    return {key: value if value is not None and isfinite(value) else None for key, value in values}


def _difference(difference: Difference, scored: Sequence[Scored]) -> dict[str, Any]:
    return {
        "a": scored[difference.a].facts.name,
        "b": scored[difference.b].facts.name,
        **_fields("bits_per_byte", difference.bits_per_byte),
        "a_better": difference.a_better,
    }


def _notes(config: Evaluation, text: Text, scored: Sequence[Scored]) -> Iterator[str]:
    """What a reader must know to judge the numbers, as sentences."""
    facts = [each.facts for each in scored]
    asked = config.evaluate
    yield from _note_on_sample(text, asked.seed)
    if text.rows is not None:
        yield from _notes_on_rows(text.rows, scored)
    else:
        yield from _notes_on_windows(facts)
    if text.units < FEWEST_UNITS:
        yield f"There are no intervals: they need at least {FEWEST_UNITS} documents or blocks of text."
    elif text.block_characters:
        yield (
            f"The text has fewer than {FEWEST_DOCUMENTS} documents, so the intervals resample "
            f"{plural(text.units, 'block')} of about {text.block_characters:,} characters. They say how the loss varies "
            "within this text, not from text to text."
        )
    elif text.documents < FEWEST_DOCUMENTS:
        yield f"The intervals are rough: the text has only {text.documents} documents."
    if len({each.tokenizer for each in facts}) > 1:
        yield "The tokenizers differ: compare bits per byte, not losses and perplexities, which are per token."
    if asked.precision != "fp32":
        yield f"Computed in {asked.precision}."


def _note_on_sample(text: Text, seed: int) -> Iterator[str]:
    """What part of the text is evaluated, if it is not all of it."""
    if text.source_documents == 1:
        if text.was_cut:
            yield "Only the beginning of the document is evaluated."
    elif text.documents < text.source_documents or text.was_cut:
        cut = "; it is cut" if text.documents == 1 else "; one of them is cut"
        of = f"{text.documents:,} of {text.source_documents:,} documents"
        yield f"A random sample: {of} (seed {seed}){cut if text.was_cut else ''}."


def _notes_on_rows(rendering: Rendering, scored: Sequence[Scored]) -> Iterator[str]:
    """What is counted of rows, and how many a model has no room for."""
    yield (
        f"Rows are rendered as for a training with data.loss={rendering.loss}, by each model's own chat template, and only the "
        "tokens that it would train are counted."
    )
    unread = [int((each.scores.tokens == 0).sum()) for each in scored]
    for each, count in zip(scored, unread, strict=True):
        if count:
            yield (
                f"{each.facts.name} was evaluated without {count:,} of {plural(len(each.scores.tokens), 'row')}: such rows do "
                f"not fit into {each.facts.context:,} tokens, or its chat template cannot write them."
            )
    if len(set(unread)) > 1:
        yield "The models were not evaluated on the same rows, so their numbers differ for this reason, too."


def _notes_on_windows(facts: Sequence[ModelFacts]) -> Iterator[str]:
    sizes = {(each.context, each.stride) for each in facts}
    if len(sizes) > 1:
        yield "The windows of the models differ; --context N makes them equal."
        return
    context, stride = next(iter(sizes))
    yield (
        f"Documents of up to {context:,} tokens are read whole, longer ones in windows of {context:,} that advance by "
        f"{stride:,}."
    )
