"""Packed batches have every sample once per epoch, with its mask, and are a pure function of data, seed and step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from packed_samples import Sample, some_samples, write
from seedbed.data.packed_batches import PackedBatches, PackedRows, PackedValidation
from seedbed.data.samples import Samples
from seedbed.errors import SeedbedError

CONTEXT = 16
TRAIN, VALIDATION = some_samples(61, CONTEXT + 1), some_samples(23, CONTEXT + 1, seed=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory):
    return write(tmp_path_factory.mktemp("packed"), TRAIN, VALIDATION)


def rows_of(dataset, split="train", context=CONTEXT) -> PackedRows:
    return PackedRows(Samples.of(dataset, split), context)


def batches_of(dataset, **changes) -> PackedBatches:
    return PackedBatches(rows_of(dataset), **{"seed": 1, "fingerprint": "f", "batch_size": 6, **changes})


def pieces(batch) -> list[tuple[list[int], list[int]]]:
    """The samples in a batch: inputs and targets of each document; padding is left out."""
    found = []
    for inputs, targets, documents, positions in zip(*batch, strict=True):
        for number in range(int(documents.max()) + 1):
            here = documents == number
            assert positions[here].tolist() == list(range(int(here.sum())))
            if (targets[here] >= 0).any():
                found.append((inputs[here].tolist(), targets[here].tolist()))
            else:
                assert number == int(documents.max())  # padding comes last
                assert not inputs[here].any()
    return found


def expected(samples: list[Sample]) -> list[tuple[list[int], list[int]]]:
    return [
        (ids[:-1], [id_ if flag else -100 for id_, flag in zip(ids[1:], trained[1:], strict=True)])
        for ids, trained in samples
    ]


def test_an_epoch_has_every_sample_once_with_its_mask_and_positions_from_0(dataset):
    batches = batches_of(dataset, batch_size=1)
    for epoch in (0, 3):
        steps = range(epoch * batches.windows_per_epoch, (epoch + 1) * batches.windows_per_epoch)
        seen = [piece for step in steps for piece in pieces(batches.batch(step))]
        assert sorted(seen) == sorted(expected(TRAIN))


def test_the_order_of_rows_differs_between_epochs_and_seeds(dataset):
    one, other = batches_of(dataset), batches_of(dataset, seed=2)
    rows = one.windows_per_epoch
    orders = [one.order(np.arange(rows)), one.order(np.arange(rows, 2 * rows)), other.order(np.arange(rows))]
    assert all(sorted(order.tolist()) == list(range(rows)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 3


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_the_slices_of_all_ranks_form_the_global_batch(dataset, world):
    whole = batches_of(dataset)
    for step in (0, 4, 10**9):
        parts = [
            batches_of(dataset).batch(step, rows=slice(rank * 6 // world, (rank + 1) * 6 // world))
            for rank in range(world)
        ]
        for name in ("inputs", "targets", "documents", "positions"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole.batch(step), name)), (
                name
            )


def test_a_batch_does_not_depend_on_earlier_calls(dataset):
    forward = [batches_of(dataset).batch(step) for step in range(20)]
    again = batches_of(dataset)
    for step in reversed(range(20)):
        assert all(torch.equal(a, b) for a, b in zip(again.batch(step), forward[step], strict=True))


def test_samples_longer_than_a_row_are_left_out_and_counted(dataset):
    rows = rows_of(dataset, context=8)
    short = [sample for sample in TRAIN if len(sample[0]) <= 9]
    assert rows.num_left_out == len(TRAIN) - len(short) > 0
    batches = PackedBatches(rows, seed=0, fingerprint="f", batch_size=rows.plan.num_rows)
    assert sorted(pieces(batches.batch(0))) == sorted(expected(short))


def test_no_sample_that_fits_is_an_error_that_names_the_context(tmp_path: Path):
    made = write(tmp_path, [([1, 2, 3, 4], [0, 1, 1, 1])], [([1, 2, 3, 4], [0, 1, 1, 1])])
    with pytest.raises(SeedbedError, match="No training sample fits into 2 tokens") as caught:
        PackedBatches(rows_of(made, context=2), seed=0, fingerprint="f", batch_size=1)
    assert "model.context" in caught.value.hint
    with pytest.raises(SeedbedError, match="No validation sample fits into 2 tokens"):
        PackedValidation(rows_of(made, "validation", context=2), batch_size=1)


def test_validation_evaluates_every_target_once_in_a_fixed_order(dataset):
    validation = PackedValidation(rows_of(dataset, "validation"), batch_size=4)
    once, twice = list(validation.batches(0)), list(validation.batches(0))
    assert sorted(piece for batch in once for piece in pieces(batch)) == sorted(expected(VALIDATION))
    assert all(torch.equal(a.targets, b.targets) for a, b in zip(once, twice, strict=True))
    targets = sum(sum(trained[1:]) for _, trained in VALIDATION)
    assert validation.tokens(0) == targets == sum(batch.trained for batch in once)
    assert validation.bytes_per_token == 3  # three bytes for each trained token, see packed_samples


def test_a_part_of_the_validation_has_about_as_many_tokens_as_wanted(dataset):
    validation = PackedValidation(rows_of(dataset, "validation"), batch_size=4, wanted_tokens=40)
    assert validation.compared_tokens == 40
    found = sum(batch.trained for batch in validation.batches(40))
    assert found == validation.tokens(40)
    assert 25 <= found < validation.tokens(0)
    validation.limit(10)
    assert validation.compared_tokens == 10
    whole = PackedValidation(rows_of(dataset, "validation"), batch_size=4, wanted_tokens=10**6)
    assert whole.compared_tokens == 0


def test_a_plan_is_kept_and_one_of_other_samples_or_a_damaged_one_is_replaced(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("seedbed.data.packed_batches.WINDOW", 10)
    samples = Samples.of(dataset, "train")
    made = PackedRows(samples, CONTEXT, fingerprint="one", folder=tmp_path)
    (path,) = tmp_path.glob(".train-16.plan")
    packed: list[int] = []
    monkeypatch.setattr(PackedRows, "_packed", lambda self: packed.append(1) or made.plan)
    again = PackedRows(samples, CONTEXT, fingerprint="one", folder=tmp_path)
    assert not packed
    assert np.array_equal(again.plan.members, made.plan.members)
    assert np.array_equal(again.plan.starts, made.plan.starts)
    good = path.read_bytes()
    changed = bytearray(good)
    changed[-4 * 8] ^= 1  # where a row begins
    twice = bytearray(good)
    at = len(good) - 8 * (len(made.plan.starts) + 2)  # the last sample but one becomes the last one
    twice[at : at + 8] = good[at + 8 : at + 16]
    for content, fingerprint in ((good, "other"), (good[:-8], "one"), (changed, "one"), (twice, "one")):
        path.write_bytes(content)
        PackedRows(samples, CONTEXT, fingerprint=fingerprint, folder=tmp_path)
        assert packed.pop() == 1
        PackedRows(samples, CONTEXT, fingerprint=fingerprint, folder=tmp_path)
        assert not packed, "the plan that could not be used was replaced"


def test_a_changed_mask_is_found_when_the_dataset_is_opened(tmp_path):
    made = write(tmp_path, TRAIN, VALIDATION)
    path = tmp_path / "train-00001.ds.loss"
    mask = bytearray(path.read_bytes())
    mask[3] ^= 1
    path.write_bytes(mask)
    with pytest.raises(SeedbedError, match=r"train-00001\.ds\.loss"):
        made.verify()


def test_the_fingerprint_covers_the_mask(tmp_path):
    flipped = [(ids, [1 - flag for flag in trained]) for ids, trained in TRAIN]
    one, other = write(tmp_path / "a", TRAIN, VALIDATION), write(tmp_path / "b", flipped, VALIDATION)
    assert one.fingerprint != other.fingerprint
