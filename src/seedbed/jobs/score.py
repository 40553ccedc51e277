"""Scores a model of the built-in stories: generates stories and checks them. Writes JSON lines to stdout."""

from __future__ import annotations

import heapq
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
from seedbed.errors import UsageError
from seedbed.events import discard
from seedbed.jobs.answering import answer_request
from seedbed.jobs.generate import generation_device
from seedbed.model.generate import GeneratedText, Sampling
from seedbed.model.load import load_folder
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.train.seed import offset_seed

NO_SENTENCE = "no sentence"
"""The reason under which a text without a whole sentence is counted as wrong."""
_ENDS = ".!?\n"
_LONGEST = 100
"""How many of the longest training sentences (in characters) are encoded to find the longest one in tokens."""
_CUT_FACTOR = 3
"""A text is cut when a sentence becomes this many times as long as the longest training sentence, in tokens."""


class ScoreRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to score: a checkpoint, the path of its run's config, and how many sentences to generate."""

    checkpoint: str
    config: str
    sentences: int = 200
    temperature: float = 0.8
    seed: int = 1


def main(arguments: Sequence[str]) -> int:
    """Answer the scoring request on stdin; returns the exit status."""
    return answer_request(ScoreRequest, answer)


def answer(request: ScoreRequest) -> Iterator[dict[str, Any]]:
    """Score the model: yield progress lines, then one line with the result. Raises SeedbedError or UsageError."""
    if request.sentences < 1:
        raise UsageError(
            f"The number of sentences must be at least 1, not {request.sentences}.", "Use --sentences 1 or more."
        )
    config = load_frozen(Path(request.config), TRAIN)
    if config.data.source != "stories":
        raise UsageError(
            f"This run was trained on {config.data.source}; only models of the built-in stories can be scored.",
            "Choose a run that was trained with --data stories.",
        )
    folder = Path(request.checkpoint)
    verify_weights(folder)
    model, tokenizer = load_folder(folder, device=generation_device("cpu")), Tokenizer.of_model(folder)
    known = {
        sentence
        for story in open_stories("stories", config.data, discard).documents("train")
        for sentence in sentences(story)
    }
    most = longest_tokens(known, tokenizer)
    texts: list[str] = []
    judged = cut = without = 0
    while judged < request.sentences:
        # Each story starts after an end-of-text token, as in training, and ends where the model ends it.
        sampling = Sampling(
            max_new_tokens=config.model.context - 1,
            temperature=request.temperature,
            seed=offset_seed(request.seed * 1_000_003, len(texts)),
        )
        text, was_cut = write(GeneratedText(model, tokenizer, "", sampling), most)
        found = score_stories([text]).num_sentences
        texts.append(text)
        # A text without a sentence counts as one wrong sentence, so that the loop also ends for a model that writes none.
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
    """The number of tokens of a sentence at which a text is cut: a multiple of the longest training sentence in `known`."""
    longest = heapq.nlargest(_LONGEST, known, key=len)
    return _CUT_FACTOR * max((len(tokenizer.encode(each)) for each in longest), default=1)


def write(stream: GeneratedText, most: int) -> tuple[str, bool]:
    """Generate the text of `stream`; returns it, and whether it was cut after `most` tokens without the end of a sentence."""
    pieces: list[str] = []
    ended_at = 0
    for piece in stream:
        pieces.append(piece)
        if any(mark in piece for mark in _ENDS):
            ended_at = stream.num_tokens
        elif stream.num_tokens - ended_at >= most:
            return "".join(pieces), True
    return "".join(pieces), False
