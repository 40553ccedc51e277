"""What is said when a dataset that is not split is divided before a training."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import row_datasets
from seedbed.curation.folder import describe
from seedbed.data.row_split import split_folder
from split_rows import chat, prose


def test_all_rows_of_the_dataset_are_accounted_for(tmp_path: Path) -> None:
    rng = random.Random(1)
    long = [prose(rng, 30) for _ in range(4)]
    rows = [chat(prose(rng, 20), prose(rng, 40)) for _ in range(20)] + [chat(*long[:2]), chat(*long)]
    folder = row_datasets.dataset(tmp_path / "logs", rows, None)
    emitted: list[Any] = []
    split_folder(
        folder, describe(folder), tmp_path / "cache", lambda event, _=None: emitted.append(event), lambda: None
    )
    (said,) = emitted
    assert (
        "of its 22 rows are held out for validation. 1 is left out: the beginning of a longer conversation" in said.text
    )
