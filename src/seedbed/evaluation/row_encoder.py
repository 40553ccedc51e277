"""Encodes rows of a dataset for an evaluation, by a model's own tokenizer and chat template, as in a training on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from seedbed.config.directories import cache_dir
from seedbed.curation.drops import Drops
from seedbed.curation.fim.families import families_of
from seedbed.curation.record import Record, decode
from seedbed.data.rendering import SampleEncoder, Settings
from seedbed.errors import SeedbedError
from seedbed.evaluation.encoding import Encoded
from seedbed.evaluation.row_source import Rendering
from seedbed.text import quoted
from seedbed.tokenizer.tokenizer import Tokenizer

TEMPLATES = "templates"
"""The folder in the cache with what is known about chat templates."""


class RowEncoder:
    """Encodes rows with the tokenizer and chat template of a model. Call `close` at the end."""

    def __init__(self, tokenizer: Tokenizer, rendering: Rendering, context: int) -> None:
        """`context`: the most predictions of a sample; longer rows are clipped, or left out, as in a training."""
        self._tokenizer = tokenizer
        fitting = families_of(tokenizer)
        self._family = rendering.family if rendering.family in fitting else next(iter(fitting), None)
        settings = msgspec.convert(
            {"dtype": "<u4", "max_tokens": context + 1, "fim_family": self._family, "loss": rendering.loss}, Settings
        )
        self._encoder = SampleEncoder(tokenizer, settings, cache=cache_dir() / TEMPLATES)
        self.left_out: Counter[str] = Counter()
        """Why rows, or turns of them, gave no sample, so far."""

    def close(self) -> None:
        """End the processes that render templates."""
        self._encoder.close()

    def encode(self, lines: Sequence[str]) -> Encoded:
        """The samples of rows. Each row is a unit; each sample begins anew, and only its trained tokens are scored.

        Raises SeedbedError if the chat template cannot be used.
        """
        records = [decode(line) for line in lines]
        numbers: dict[str, list[int]] = {}
        for number, record in enumerate(records):
            numbers.setdefault(record.id, []).append(number)
        drops = Drops()
        ids: list[np.ndarray] = [np.zeros(0, np.int64)]
        scored: list[np.ndarray] = [np.zeros(0, bool)]
        units: list[np.ndarray] = [np.zeros(0, np.int64)]
        begins, unit_bytes = [0], np.zeros(len(records), np.int64)
        unique = [records[each[0]] for each in numbers.values()]
        for record, sample in self._encoder.usable(self._readable(unique), drops):
            own = np.array(sample.ids, np.int64)
            trained = np.frombuffer(sample.trained, np.uint8) != 0
            trained = np.concatenate(([False], trained[1:]))
            for number in numbers[record.id]:  # rows of equal content share an id
                ids.append(own)
                scored.append(trained)
                units.append(np.full(len(own), number, np.int64))
                begins.append(begins[-1] + len(own))
                unit_bytes[number] += self._encoder.num_bytes(own[trained])
        for (_, reason), count in drops.counts.items():
            self.left_out[reason] += count
        return Encoded(
            np.concatenate(ids),
            np.concatenate(units),
            begins,
            unit_bytes,
            np.arange(len(records)),
            np.concatenate(scored),
        )

    def _readable(self, records: list[Record]) -> list[Record]:
        if self._family is not None:
            return records
        kept = [each for each in records if each.kind != "fim"]
        if len(kept) < len(records):
            self.left_out["the tokenizer has no markers for gaps to fill"] += len(records) - len(kept)
        return kept

    def nothing(self, name: str) -> SeedbedError:
        """The error if no row gave a sample for the model `name`."""
        why = "; ".join(f"{reason} ({count:,})" for reason, count in self.left_out.most_common(5))
        return SeedbedError(
            f"No row can be evaluated with {quoted(name)}: {why or 'there is none'}.",
            "Use a longer --context, or rows for which the tokenizer has a template and markers.",
        )
