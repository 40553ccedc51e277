"""A training step: accumulation changes no result, the loss is per trained token, clipping equals torch's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from seedbed.config.schema import ModelConfig
from seedbed.data.batches import Batch
from seedbed.errors import SeedbedError
from seedbed.model.decoder import Decoder
from seedbed.train.decoder_learner import DecoderLearner
from seedbed.train.step import clip_gradients, train_step

CONFIG = ModelConfig(layers=2, hidden=32, heads=2, kv_heads=1, head_dim=16, ffn=48, context=24)


class Sgd:
    """Plain gradient descent on the masters, so that the weights show the gradients."""

    def __init__(self, learner: DecoderLearner, rate: float = 0.1) -> None:
        self.learner, self.rate = learner, rate

    def step(self, scale: float) -> None:
        with torch.no_grad():
            for parameter in self.learner.masters.masters:
                parameter.sub_(parameter.grad, alpha=self.rate * scale)

    def lr(self, scale: float) -> float:
        return self.rate * scale


def model() -> Decoder:
    decoder = Decoder(CONFIG, 64)
    decoder.init_weights(torch.Generator().manual_seed(3))
    return decoder


def ragged_batch(rows: int = 8) -> Batch:
    """Rows with 1 to 24 trained targets each: the case in which naive averaging goes wrong."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(0, 64, (rows, 25), generator=generator)
    targets = ids[:, 1:].clone()
    for row in range(rows):
        targets[row, 1 + 3 * row :] = -100
    return Batch(ids[:, :-1], targets)


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 8, 0])
def test_gradient_accumulation_does_not_change_the_step(micro_batch: int) -> None:
    reference, candidate = model(), model()
    whole = DecoderLearner(reference, precision="fp32", device=torch.device("cpu"))
    parts = DecoderLearner(candidate, precision="fp32", device=torch.device("cpu"))
    batch = ragged_batch()
    one = train_step(whole, batch, Sgd(whole), 1.0, grad_clip=0.0, micro_batch=8)
    many = train_step(parts, batch, Sgd(parts), 1.0, grad_clip=0.0, micro_batch=micro_batch)
    assert one.tokens == many.tokens == int((batch.targets >= 0).sum())
    assert float(many.loss) == pytest.approx(float(one.loss), abs=1e-6)
    assert float(many.grad_norm) == pytest.approx(float(one.grad_norm), rel=1e-5)
    for left, right in zip(reference.parameters(), candidate.parameters(), strict=True):
        assert torch.allclose(left, right, atol=1e-6)


def test_the_loss_equals_torchs_mean_over_trained_tokens() -> None:
    decoder, batch = model(), ragged_batch()
    with torch.no_grad():
        expected = F.cross_entropy(decoder(batch.inputs).flatten(0, 1), batch.targets.flatten(), ignore_index=-100)
    learner = DecoderLearner(decoder, precision="fp32", device=torch.device("cpu"))
    result = train_step(learner, batch, Sgd(learner), 1.0, grad_clip=0.0, micro_batch=3)
    assert float(result.loss) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("limit", [0.01, 1e9, 0.0])
def test_clipping_equals_torchs(limit: float) -> None:
    gradients = [torch.randn(7, 3), torch.randn(11)]
    parameters = [torch.nn.Parameter(torch.zeros_like(each)) for each in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    expected = torch.nn.utils.clip_grad_norm_(parameters, limit or float("inf"))
    norm = clip_gradients(gradients, limit)
    assert float(norm) == pytest.approx(float(expected), rel=1e-6)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-5)


def test_a_batch_without_targets_is_an_error() -> None:
    learner = DecoderLearner(model(), precision="fp32", device=torch.device("cpu"))
    batch = ragged_batch(2)
    with pytest.raises(SeedbedError, match="no token to train on"):
        train_step(
            learner,
            Batch(batch.inputs, torch.full_like(batch.targets, -100)),
            Sgd(learner),
            1.0,
            grad_clip=1.0,
            micro_batch=0,
        )


def test_bf16_keeps_fp32_masters_and_learns_like_fp32() -> None:
    curves = {}
    for precision in ("fp32", "bf16"):
        learner = DecoderLearner(model(), precision=precision, device=torch.device("cpu"))
        assert all(parameter.dtype == torch.float32 for parameter in learner.model.parameters())
        batch = ragged_batch()
        curves[precision] = [
            float(train_step(learner, batch, Sgd(learner, 0.15), 1.0, grad_clip=1.0, micro_batch=4).loss)
            for _ in range(20)
        ]
    assert curves["fp32"][-1] < curves["fp32"][0] * 0.9
    for fine, coarse in zip(curves["fp32"], curves["bf16"], strict=True):
        assert coarse == pytest.approx(fine, abs=0.01 * curves["fp32"][0])


@pytest.mark.parametrize("micro_batch", [0, 3])
def test_gradients_move_to_the_fp32_masters_during_the_backward_pass(micro_batch: int) -> None:
    learner, batch = DecoderLearner(model(), precision="bf16", device=torch.device("cpu")), ragged_batch()
    plain = model().to(torch.bfloat16)
    held: list[int] = []
    for parameter in learner.masters.working:
        parameter.register_post_accumulate_grad_hook(
            lambda _: held.append(sum(each.grad is not None for each in learner.masters.working))
        )
    sums = [torch.zeros_like(each, dtype=torch.float32) for each in plain.parameters()]
    for leaf in batch.leaves(micro_batch):
        learner.accumulate(leaf, batch.trained)
        (plain.loss(leaf.inputs, leaf.targets) / batch.trained).backward()
        for total, parameter in zip(sums, plain.parameters(), strict=True):
            assert parameter.grad is not None
            total += parameter.grad.float()
            parameter.grad = None
    assert len(held) >= len(sums)
    assert max(held) == 0  # each gradient has moved before the next one is computed
    for ours, theirs in zip(learner.gradients(), sums, strict=True):
        assert torch.equal(ours, theirs)


def test_small_updates_are_kept_in_the_fp32_masters() -> None:
    """A step of 1e-6 on a gain of 1 is below bf16's resolution: without fp32 masters it would be lost."""
    learner = DecoderLearner(model(), precision="bf16", device=torch.device("cpu"))
    before = copy.deepcopy(learner.model.state_dict())
    for _ in range(4):
        train_step(learner, ragged_batch(), Sgd(learner, 1e-3), 1.0, grad_clip=1.0, micro_batch=0)
    moved = [not torch.equal(before[name], value) for name, value in learner.model.state_dict().items()]
    assert all(moved)


def test_fp16_skips_an_overflowing_step_and_halves_the_scale() -> None:
    learner = DecoderLearner(model(), precision="fp16", device=torch.device("cpu"))
    before = [parameter.clone() for parameter in learner.masters.masters]
    scale = learner.masters.loss_scale
    for parameter in learner.masters.masters:
        parameter.grad = torch.full_like(parameter, float("inf"))
    assert not learner.finish_step(torch.tensor(float("inf")), lambda: pytest.fail("updated on overflow"))
    assert learner.masters.loss_scale == scale / 2
    assert all(torch.equal(old, new) for old, new in zip(before, learner.masters.masters, strict=True))


def agreeing_batch() -> tuple[Decoder, Batch]:
    """A model with the gains of a trained one, and 16,384 tokens of two kinds: their gradients at the head add up."""
    config = ModelConfig(layers=1, hidden=16, heads=2, kv_heads=2, head_dim=8, ffn=16, context=64)
    decoder = Decoder(config, 64)
    generator = torch.Generator().manual_seed(1)
    decoder.init_weights(generator)
    with torch.no_grad():
        decoder.norm.weight.mul_(8.0)
        decoder.embed.weight.normal_(generator=generator)
    ids = torch.zeros(256, 65, dtype=torch.long)
    ids[:, 1::2] = 7
    return decoder, Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())


@pytest.mark.parametrize("micro_batch", [0, 64])
def test_fp16_finds_a_loss_scale_for_a_large_batch_and_gets_the_fp32_gradient(micro_batch: int) -> None:
    norms = {}
    for precision in ("fp32", "fp16"):
        decoder, batch = agreeing_batch()
        learner = DecoderLearner(decoder, precision=precision, device=torch.device("cpu"))
        for _ in range(15):
            done = train_step(learner, batch, Sgd(learner, 0.0), 1.0, grad_clip=0.0, micro_batch=micro_batch)
            if done.updated:
                break
        assert done.updated, f"every step was skipped, down to a loss scale of {learner.masters.loss_scale}"
        norms[precision] = float(done.grad_norm)
    assert norms["fp16"] == pytest.approx(norms["fp32"], rel=0.01)


def test_fp16_stops_tolerating_overflows_once_the_lowest_loss_scale_does_not_help() -> None:
    learner = DecoderLearner(model(), precision="fp16", device=torch.device("cpu"))
    inf = torch.tensor(float("inf"))
    while learner.masters.loss_scale > 1.0:
        assert not learner.finish_step(inf, lambda: pytest.fail("updated on overflow"))
        assert learner.tolerates_overflow
    for _ in range(9):
        learner.finish_step(inf, lambda: None)
        assert learner.tolerates_overflow
    learner.finish_step(torch.tensor(1.0), lambda: None)
    for _ in range(10):
        assert learner.tolerates_overflow
        learner.finish_step(inf, lambda: None)
    assert not learner.tolerates_overflow
