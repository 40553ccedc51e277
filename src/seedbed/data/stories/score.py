"""Score generated stories: the share of sentences that pass the checker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from seedbed.data.stories.checker import Verdict, check


@dataclass(frozen=True)
class StoryScore:
    """The score of generated stories: of ``num_sentences``, how many pass the checker and how many are in the training text.

    ``reasons``: number of faulty sentences by kind of fault; ``failed``: their verdicts. ``num_fragments``: incomplete
    sentences at the start and end of the texts, which are not checked. ``num_verbatim``: None without training text.
    """

    num_sentences: int
    num_ok: int
    num_verbatim: int | None
    num_fragments: int
    reasons: Counter[str]
    failed: tuple[Verdict, ...]

    @property
    def pass_rate(self) -> float:
        """The share of sentences that pass the checker, from 0 to 1; 0 without sentences."""
        return self.num_ok / self.num_sentences if self.num_sentences else 0.0

    @property
    def verbatim_rate(self) -> float | None:
        """The share of sentences that occur verbatim in the training text, from 0 to 1; None without training text."""
        if self.num_verbatim is None:
            return None
        return self.num_verbatim / self.num_sentences if self.num_sentences else 0.0


def score_stories(
    texts: Iterable[str], training_sentences: AbstractSet[str] | None = None, limit: int | None = None
) -> StoryScore:
    """Check the stories in ``texts`` one by one, up to ``limit`` sentences in total (None: all)."""
    verdicts: list[Verdict] = []
    num_fragments = 0
    for text in texts:
        if limit is not None and len(verdicts) >= limit:
            break
        report = check(text)
        verdicts += report.verdicts
        num_fragments += report.num_fragments
    verdicts = verdicts[:limit]
    failed = tuple(verdict for verdict in verdicts if not verdict.ok)
    return StoryScore(
        num_sentences=len(verdicts),
        num_ok=len(verdicts) - len(failed),
        num_verbatim=None if training_sentences is None else sum(v.text in training_sentences for v in verdicts),
        num_fragments=num_fragments,
        reasons=Counter(verdict.kind for verdict in failed),
        failed=failed,
    )
