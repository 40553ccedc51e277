"""How well a model tells stories of the built-in world: it writes some, the checker reads them. JSON lines on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seedbed import checkpoint
from seedbed.config.load import load_frozen
from seedbed.data.sources.stories import open_stories
from seedbed.data.stories.score import score
from seedbed.data.stories.sentences import sentences
from seedbed.errors import EXIT_FAILURE, SeedbedError, UsageError
from seedbed.jobs.generate import generation_device
from seedbed.model.generate import Sampling, text_stream
from seedbed.model.load import load_folder
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.train.seed import following


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to score: a checkpoint, the config that it was trained by, and how much it writes."""

    checkpoint: str
    config: str
    sentences: int = 200
    temperature: float = 0.8
    seed: int = 1


def main(arguments: Sequence[str]) -> int:
    """Answer the request on stdin; returns the exit status."""
    try:
        request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
        for line in answer(request):
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
    except SeedbedError as error:
        sys.stdout.write(json.dumps({"error": error.message, "hint": error.hint, "exit": error.exit_code}) + "\n")
        return error.exit_code
    except BrokenPipeError:
        return EXIT_FAILURE
    return 0


def answer(request: Request) -> Iterator[dict[str, Any]]:
    """Progress lines, then one line with the outcome."""
    if request.sentences < 1:
        raise UsageError(f"{request.sentences} sentences are none.", "Give --sentences 1 or more.")
    config = load_frozen(Path(request.config))
    if config.data.source != "stories":
        raise UsageError(
            f"This run was trained on {config.data.source}, and the checker knows only the built-in stories.",
            "Score a run that was trained with --data stories.",
        )
    folder = Path(request.checkpoint)
    checkpoint.verify_weights(folder)
    model, tokenizer = load_folder(folder, device=generation_device("cpu")), Tokenizer.load(folder)
    texts: list[str] = []
    written = 0
    while written < request.sentences:
        # Each story begins as in training, after an end-of-text, and ends where the model ends it.
        sampling = Sampling(
            max_new_tokens=model.config.context - 1,
            temperature=request.temperature,
            seed=following(request.seed * 1_000_003, len(texts)),
        )
        text = "".join(text_stream(model, tokenizer, "", sampling))
        texts.append(text)
        written += max(score([text]).num_sentences, 1 if len(texts) > 10 * request.sentences else 0)
        yield {"done": min(written, request.sentences), "total": request.sentences}
    known = {
        sentence
        for story in open_stories("stories", config.data, lambda _: None).documents("train")
        for sentence in sentences(story)
    }
    outcome = score(texts, known, limit=request.sentences)
    yield {
        "sentences": outcome.num_sentences,
        "passed": outcome.num_ok,
        "pass_rate": outcome.pass_rate,
        "verbatim_rate": outcome.verbatim_rate,
        "stories": len(texts),
        "reasons": dict(outcome.reasons.most_common()),
        "failed": [{"sentence": verdict.text, "reason": verdict.reason} for verdict in outcome.failed[:10]],
    }
