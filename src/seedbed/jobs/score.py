"""How well a model tells stories of the built-in world: it writes some, the checker reads them. JSON lines on stdout."""

from __future__ import annotations

import heapq
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seedbed.checkpoint.marker import verify_weights
from seedbed.config.frozen import load_frozen
from seedbed.config.roots import TRAIN
from seedbed.data.sources.stories import open_stories
from seedbed.data.stories.score import score_stories
from seedbed.data.stories.sentences import sentences
from seedbed.errors import EXIT_FAILURE, SeedbedError, UsageError
from seedbed.events import discard
from seedbed.jobs.generate import generation_device
from seedbed.model.generate import Sampling, TextStream
from seedbed.model.load import load_folder
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.train.seed import following

NO_SENTENCE = "no sentence"
"""The reason for a text without a whole sentence."""
_ENDS = ".!?\n"
_LONGEST = 100
"""So many of the longest sentences are counted in tokens."""
_PATIENCE = 3
"""A text is cut after this many times the longest training sentence in which it ends no sentence."""


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
    config = load_frozen(Path(request.config), TRAIN)
    if config.data.source != "stories":
        raise UsageError(
            f"This run was trained on {config.data.source}, and the checker knows only the built-in stories.",
            "Score a run that was trained with --data stories.",
        )
    folder = Path(request.checkpoint)
    verify_weights(folder)
    model, tokenizer = load_folder(folder, device=generation_device("cpu")), Tokenizer.load(folder)
    known = {
        sentence
        for story in open_stories("stories", config.data, discard).documents("train")
        for sentence in sentences(story)
    }
    most = longest_tokens(known, tokenizer)
    texts: list[str] = []
    judged = cut = without = 0
    while judged < request.sentences:
        # Each story begins as in training, after an end-of-text, and ends where the model ends it.
        sampling = Sampling(
            max_new_tokens=model.config.context - 1,
            temperature=request.temperature,
            seed=following(request.seed * 1_000_003, len(texts)),
        )
        text, was_cut = write(TextStream(model, tokenizer, "", sampling), most)
        found = score_stories([text]).num_sentences
        texts.append(text)
        # A text without a sentence counts as a sentence that is wrong: so a model that writes none comes to an end, too.
        judged, cut, without = judged + max(found, 1), cut + was_cut, without + (not found)
        yield {"done": min(judged, request.sentences), "total": request.sentences}
    outcome = score_stories(texts, known, limit=request.sentences - without)
    total = outcome.num_sentences + without
    reasons = outcome.reasons + Counter({NO_SENTENCE: without})
    yield {
        "sentences": total,
        "passed": outcome.num_ok,
        "pass_rate": outcome.num_ok / total,
        "verbatim_rate": (outcome.num_verbatim or 0) / total,
        "stories": len(texts),
        "cut": cut,
        "cut_tokens": most,
        "reasons": dict(reasons.most_common()),
        "failed": [{"sentence": verdict.text, "reason": verdict.reason} for verdict in outcome.failed[:10]],
    }


def longest_tokens(known: Collection[str], tokenizer: Tokenizer) -> int:
    """After how many tokens without the end of a sentence a text is cut: several times the longest one of the training."""
    longest = heapq.nlargest(_LONGEST, known, key=len)
    return _PATIENCE * max((len(tokenizer.encode(each)) for each in longest), default=1)


def write(stream: TextStream, most: int) -> tuple[str, bool]:
    """The text of a stream, and whether it was cut: after `most` tokens in which no sentence ended."""
    pieces: list[str] = []
    ended_at = 0
    for piece in stream:
        pieces.append(piece)
        if any(mark in piece for mark in _ENDS):
            ended_at = stream.num_tokens
        elif stream.num_tokens - ended_at >= most:
            return "".join(pieces), True
    return "".join(pieces), False
