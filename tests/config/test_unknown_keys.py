"""A misspelt key, a key in the wrong table, and a key of another program lead to the right one."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from configs import refused, written
from seedbed.config.keys import keys, tables
from seedbed.config.roots import TRAIN
from seedbed.config.unknown_keys import nearest_keys


def typos(word: str, letters: str = string.ascii_lowercase + string.digits + "_") -> set[str]:
    """Every word one deletion, swap, insertion or replacement away."""
    found = set()
    for i in range(len(word) + 1):
        found |= {word[:i] + letter + word[i:] for letter in letters}
        if i < len(word):
            found.add(word[:i] + word[i + 1 :])
            found |= {word[:i] + letter + word[i + 1 :] for letter in letters}
        if i + 1 < len(word):
            found.add(word[:i] + word[i + 1] + word[i] + word[i + 2 :])
    return found - {word, ""}


def test_no_typo_of_a_key_is_another_key_except_for_the_two_betas() -> None:
    pairs = {
        (key.path, f"{key.table}.{typo}")
        for key in keys(TRAIN).values()
        for typo in typos(key.name)
        if f"{key.table}.{typo}" in keys(TRAIN)
    }
    assert pairs == {("optimizer.beta1", "optimizer.beta2"), ("optimizer.beta2", "optimizer.beta1")}


@pytest.mark.parametrize("table", list(tables(TRAIN)))
def test_every_typo_of_a_key_is_refused_and_names_the_right_one(table: str) -> None:
    for key in (key for key in keys(TRAIN).values() if key.table == table):
        for typo in typos(key.name, "e_2"):
            path = f"{table}.{typo}"
            if path in keys(TRAIN):
                continue
            named = nearest_keys(path, TRAIN)
            assert key.path in named, f"{path}: {named}"
        some = next(typo for typo in sorted(typos(key.name)) if f"{table}.{typo}" not in keys(TRAIN))
        assert key.path in refused(sets=[f"{table}.{some}=1"])


@pytest.mark.parametrize("table", list(tables(TRAIN)))
def test_every_typo_of_a_table_is_refused_and_names_the_right_one(table: str, tmp_path: Path) -> None:
    for typo in sorted(typos(table) - set(tables(TRAIN)))[::7]:
        assert f"[{table}]" in refused(file=written(tmp_path, f"[{typo}]\nx = 1\n")), typo


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("optimizer.learning_rate", "optimizer.lr"),
        ("learning-rate", "optimizer.lr"),
        ("train.max_steps", "train.steps"),
        ("train.max_iters", "train.steps"),
        ("train.num_train_epochs", "train.epochs"),
        ("per_device_train_batch_size", "train.batch_size"),
        ("model.block_size", "model.context"),
        ("model.n_layer", "model.layers"),
        ("n_head", "model.heads"),
        ("n_embd", "model.hidden"),
        ("model.num_hidden_layers", "model.layers"),
        ("optimizer.max_grad_norm", "optimizer.grad_clip"),
        ("train.warmup_steps", "schedule.warmup"),
        ("train.save_steps", "train.checkpoint_every"),
        ("train.leraning_rate", "optimizer.lr"),
    ],
)
def test_a_name_from_another_program_leads_to_the_right_key(path: str, right: str) -> None:
    assert right in nearest_keys(path, TRAIN)
    assert right in refused(sets=[f"{path}=1"])
