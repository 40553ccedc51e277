"""Optimizers compared with torch's, on fused parameters, and after a resume."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from seedbed.config.schema import OptimizerConfig
from seedbed.errors import SeedbedError
from seedbed.optim.optimizer import Optimizer, build_optimizer

ADAMW = OptimizerConfig(name="adamw", lr=1e-2, weight_decay=0.1)
MUON = OptimizerConfig(name="muon", lr=0.02, adam_lr=0.01, head_lr=0.005, weight_decay=0.1)


class Named(NamedTuple):
    name: str
    parameter: nn.Parameter
    rows: slice | None = None
    role: str = "matrix"
    transposed: bool = False


def small_model(seed: int = 0) -> list[Named]:
    """A fused q/k/v of unequal heights, a tall and a wide matrix, an embedding, a head and a fused vector."""
    torch.manual_seed(seed)
    qkv, gain = nn.Parameter(torch.randn(32, 16)), nn.Parameter(torch.ones(8))
    return [
        Named("q.weight", qkv, slice(0, 16)),
        Named("k.weight", qkv, slice(16, 24)),
        Named("v.weight", qkv, slice(24, 32)),
        Named("up.weight", nn.Parameter(torch.randn(48, 16))),
        Named("down.weight", nn.Parameter(torch.randn(16, 48)), transposed=True),
        Named("embed.weight", nn.Parameter(torch.randn(50, 16)), role="embedding"),
        Named("head.weight", nn.Parameter(torch.randn(50, 16)), role="head"),
        Named("q_norm.weight", gain, slice(0, 4), "vector"),
        Named("k_norm.weight", gain, slice(4, 8), "vector"),
    ]


def owners(parameters: list[Named]) -> list[nn.Parameter]:
    return list({id(each.parameter): each.parameter for each in parameters}.values())


def give_gradients(parameters: list[Named], step: int) -> None:
    generator = torch.Generator().manual_seed(1000 + step)
    for parameter in owners(parameters):
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def train(parameters: list[Named], optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        give_gradients(parameters, step)
        optimizer.step(1.0 / (1 + step))
        optimizer.zero_grad()


def weights(parameters: list[Named]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in owners(parameters)]


@pytest.mark.parametrize("shape", [(64, 64), (96, 32), (32, 96)])
def test_muon_updates_agree_with_torchs(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(shape)), nn.Parameter(torch.empty(shape))
    theirs.data.copy_(ours.data)
    start = ours.detach().clone()
    optimizer = build_optimizer(
        [Named("w", ours)],
        OptimizerConfig(name="muon", lr=0.02, weight_decay=0.1, momentum=0.9, ns_steps=5),
        ns_dtype=torch.bfloat16,
    )
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.9, nesterov=True, ns_steps=5)
    for _ in range(6):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        optimizer.step(1.0)
        reference.step()
    moved = (theirs.detach() - start).norm()
    assert (ours - theirs).norm() < 0.01 * moved


def test_adamw_updates_are_bit_equal_to_torchs() -> None:
    mine, theirs = small_model(), small_model()
    optimizer = build_optimizer(mine, ADAMW)
    matrices = owners([each for each in theirs if each.role == "matrix"])
    rest = owners([each for each in theirs if each.role != "matrix"])
    reference = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.9, 0.95),
        eps=1e-8,
        fused=True,
    )
    for step in range(4):
        give_gradients(mine, step)
        give_gradients(theirs, step)
        scale = 1.0 / (1 + step)
        for group in reference.param_groups:
            group["lr"] = 1e-2 * scale
        optimizer.step(scale)
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(owners(mine), owners(theirs), strict=True))


@pytest.mark.parametrize("config", [ADAMW, MUON], ids=["adamw", "muon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_parameters_get_the_same_updates_as_separate_ones(config: OptimizerConfig, dtype: torch.dtype) -> None:
    fused = small_model()
    apart = [
        each._replace(parameter=nn.Parameter(each.parameter.detach()[each.rows].clone()), rows=None)
        if each.rows
        else each._replace(parameter=nn.Parameter(each.parameter.detach().clone()))
        for each in fused
    ]
    one, other = build_optimizer(fused, config, ns_dtype=dtype), build_optimizer(apart, config, ns_dtype=dtype)
    for step in range(5):
        give_gradients(fused, step)
        for whole, part in zip(fused, apart, strict=True):
            assert whole.parameter.grad is not None
            part.parameter.grad = (
                whole.parameter.grad[whole.rows].clone() if whole.rows else whole.parameter.grad.clone()
            )
        one.step(1.0)
        other.step(1.0)
    for whole, part in zip(fused, apart, strict=True):
        value = whole.parameter[whole.rows] if whole.rows else whole.parameter
        torch.testing.assert_close(value, part.parameter, atol=1e-6, rtol=1e-6)


def test_muon_updates_every_role_with_its_learning_rate() -> None:
    parameters = small_model()
    before = {each.name: each.parameter.detach().clone() for each in parameters}
    optimizer = build_optimizer(parameters, MUON, ns_dtype=torch.float32)
    give_gradients(parameters, 0)
    optimizer.step(0.5)
    moved = {each.name: (each.parameter.detach() - before[each.name]) for each in parameters}
    # Adam's first step moves every number by its learning rate.
    for name, lr in (("embed.weight", 0.005), ("head.weight", 0.0025), ("q_norm.weight", 0.005)):
        torch.testing.assert_close(moved[name].abs(), torch.full_like(moved[name], lr), rtol=1e-3, atol=0)
    # Muon's step moves all singular values by about lr * sqrt(rows / columns), after decaying the matrix by lr * decay.
    lr = 0.01
    update = moved["up.weight"] + lr * 0.1 * before["up.weight"]
    values = torch.linalg.svdvals(update) / (lr * 3**0.5)
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert optimizer.lr(0.5) == lr


def test_a_head_without_its_own_learning_rate_uses_adam_lr() -> None:
    parameters = small_model()
    before = parameters[6].parameter.detach().clone()
    optimizer = build_optimizer(parameters, OptimizerConfig(name="muon", adam_lr=0.01, head_lr=0.0))
    give_gradients(parameters, 0)
    optimizer.step(1.0)
    moved = (parameters[6].parameter.detach() - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01), rtol=1e-3, atol=0)


@pytest.mark.parametrize("config", [ADAMW, MUON], ids=["adamw", "muon"])
def test_a_learning_rate_of_zero_changes_no_weight(config: OptimizerConfig) -> None:
    parameters = small_model()
    before = weights(parameters)
    give_gradients(parameters, 0)
    build_optimizer(parameters, config).step(0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, owners(parameters), strict=True))


@pytest.mark.parametrize("config", [ADAMW, MUON], ids=["adamw", "muon"])
def test_a_resumed_optimizer_is_bit_equal_to_an_uninterrupted_one(config: OptimizerConfig) -> None:
    straight = small_model()
    train(straight, build_optimizer(straight, config), range(9))

    first = small_model()
    optimizer = build_optimizer(first, config)
    train(first, optimizer, range(4))
    saved = {name: tensor.clone() for name, tensor in optimizer.state().items()}
    second = small_model(seed=1)
    for parameter, value in zip(owners(second), weights(first), strict=True):
        parameter.data.copy_(value)
    resumed = build_optimizer(second, config)
    resumed.load_state(saved, optimizer.step_count)
    train(second, resumed, range(4, 9))
    assert resumed.step_count == 9
    assert all(torch.equal(a, b) for a, b in zip(owners(straight), owners(second), strict=True))


def test_state_has_the_expected_names_and_shapes() -> None:
    state = build_optimizer(small_model(), MUON).state()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        "q.weight.momentum": (16, 16),
        "k.weight.momentum": (8, 16),
        "v.weight.momentum": (8, 16),
        "up.weight.momentum": (48, 16),
        "down.weight.momentum": (48, 16),
        "embed.weight.exp_avg": (50, 16),
        "embed.weight.exp_avg_sq": (50, 16),
        "head.weight.exp_avg": (50, 16),
        "head.weight.exp_avg_sq": (50, 16),
        "q_norm.weight.exp_avg": (4,),
        "q_norm.weight.exp_avg_sq": (4,),
        "k_norm.weight.exp_avg": (4,),
        "k_norm.weight.exp_avg_sq": (4,),
    }


def remove_tensor(state: dict[str, Tensor]) -> None:
    del state["k.weight.momentum"]


def add_tensor(state: dict[str, Tensor]) -> None:
    state["z.weight.momentum"] = torch.zeros(3)


def transpose_shape(state: dict[str, Tensor]) -> None:
    state["up.weight.momentum"] = torch.zeros(16, 48)


def lower_precision(state: dict[str, Tensor]) -> None:
    state["up.weight.momentum"] = state["up.weight.momentum"].bfloat16()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove_tensor, "missing k.weight.momentum"),
        (add_tensor, "unexpected z.weight.momentum"),
        (transpose_shape, "wrong shape or dtype: up.weight.momentum (16x48 float32, not 48x16 float32)"),
        (lower_precision, "wrong shape or dtype: up.weight.momentum (48x16 bfloat16"),
    ],
)
def test_state_that_does_not_fit_is_refused_and_named(change: Callable[[dict[str, Tensor]], Any], message: str) -> None:
    parameters = small_model()
    optimizer = build_optimizer(parameters, MUON)
    train(parameters, optimizer, range(2))
    before = {name: tensor.clone() for name, tensor in optimizer.state().items()}
    state = {name: torch.ones_like(tensor) for name, tensor in before.items()}
    change(state)
    with pytest.raises(SeedbedError) as caught:
        optimizer.load_state(state, 7)
    assert message in caught.value.message
    assert optimizer.step_count == 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in optimizer.state().items())


def test_the_state_of_another_optimizer_is_refused() -> None:
    with pytest.raises(SeedbedError, match=r"missing q\.weight\.momentum.* unexpected q\.weight\.exp_avg"):
        build_optimizer(small_model(), MUON).load_state(build_optimizer(small_model(), ADAMW).state(), 1)


def test_a_parameter_without_a_gradient_is_named_in_the_error() -> None:
    parameters = small_model()
    optimizer = build_optimizer(parameters, MUON)
    give_gradients(parameters, 0)
    parameters[3].parameter.grad = None
    with pytest.raises(SeedbedError, match=r"up\.weight"):
        optimizer.step(1.0)


def test_a_step_does_not_import_the_compiler() -> None:
    """torch._dynamo takes a second to import, a noticeable part of a small run."""
    code = """
import sys, torch
from types import SimpleNamespace
from seedbed.config.schema import OptimizerConfig
from seedbed.optim.optimizer import build_optimizer
w = torch.nn.Parameter(torch.ones(4, 4)); w.grad = torch.ones(4, 4)
v = torch.nn.Parameter(torch.ones(4)); v.grad = torch.ones(4)
named = [SimpleNamespace(name=r, parameter=p, rows=None, role=r, transposed=False)
         for r, p in (('matrix', w), ('vector', v))]
build_optimizer(named, OptimizerConfig()).step(1.0)
assert 'torch._dynamo' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
