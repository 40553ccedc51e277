"""Impossible layouts are refused with possible ones; the search finds the fastest that fits."""

from __future__ import annotations

import itertools
import re

import msgspec
import pytest

from seedbed.errors import SeedbedError, UsageError
from seedbed.simulate import alternatives, catalog, layouts
from seedbed.simulate.cost import StepBound, step_cost
from seedbed.simulate.layouts import candidates, fastest, parse_parallel, search
from seedbed.simulate.memory import GIB
from seedbed.simulate.plan import Plan, make_plan, plan_on_fewer_gpus
from seedbed.simulate.request import Request
from seedbed.simulate.setup import Setup


def plan(model: str, gpus: str, **request: object) -> Plan:
    number, kind = catalog.parse_gpus(gpus)
    wanted = Request(shape=catalog.model(model), gpu=kind, num_gpus=number, tokens=1e11, **request)  # type: ignore[arg-type]
    return make_plan(wanted, ranked=True)


@pytest.mark.parametrize(
    ("model", "sizes", "words"),
    [
        ("llama3-8b", {"tp": 7}, ("32 attention heads", "1, 2, 4, 8")),
        ("llama3-8b", {"pp": 64}, ("32 layers", "at most 32")),
        ("llama3-8b", {"tp": 8, "dp": 3}, ("there are 64 GPUs", "dp = 8")),
        ("llama3-8b", {"ep": 2}, ("no experts", "ep")),
        ("mixtral-8x7b", {"ep": 3}, ("8 experts", "1, 2, 4, 8")),
    ],
)
def test_impossible_layouts_are_refused_with_possible_values(
    model: str, sizes: dict[str, int], words: tuple[str, str]
) -> None:
    with pytest.raises(UsageError) as refused:
        plan(model, "64xH100", parallel=sizes)
    assert words[0] in refused.value.message
    assert words[1] in refused.value.hint


def test_a_batch_that_the_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be shared by dp = 64"):
        plan("llama3-8b", "64xH100", parallel={"tp": 1, "pp": 1, "cp": 1}, seq_len=8192, global_batch_tokens=8192 * 96)


@pytest.mark.parametrize("text", ["tp", "tp=x", "tp=0", "xp=2", "tp=2,tp=4", "tp=-1"])
def test_settings_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--parallel"):
        parse_parallel(text)
    assert parse_parallel("tp=8, pp=16,dp=128") == {"tp": 8, "pp": 16, "dp": 128}


def test_a_model_that_does_not_fit_says_by_how_much_and_what_fits() -> None:
    with pytest.raises(SeedbedError, match=r"does not fit on 8 H100.*5 % are kept free") as refused:
        plan("llama3-70b", "8xH100")
    assert "It fits for example on 16 of them (tp 8, pp 2" in refused.value.hint
    with pytest.raises(SeedbedError, match="does not fit") as refused:
        plan("llama3-8b", "64xH100", parallel={"tp": 1, "pp": 1, "cp": 1, "micro_batch": 8})
    assert "The nearest layout that fits" in refused.value.hint


@pytest.mark.parametrize(("seq_len", "fits"), [(2048, True), (1 << 20, False)])
def test_qlora_is_only_named_if_it_fits(monkeypatch: pytest.MonkeyPatch, seq_len: int, fits: bool) -> None:
    monkeypatch.setattr(alternatives, "fewest_gpus", lambda *_: None)
    number, kind = catalog.parse_gpus("RTX4090")
    wanted = Request(shape=catalog.model("qwen3-8b"), gpu=kind, num_gpus=number, method="lora", seq_len=seq_len)
    if fits:
        assert make_plan(msgspec.structs.replace(wanted, method="qlora")).memory.total < 23.6 * 2**30
        wanted = msgspec.structs.replace(wanted, method="full_ft")
    with pytest.raises(SeedbedError, match="does not fit") as refused:
        make_plan(wanted)
    assert ("--method qlora" in refused.value.hint) == fits


def test_a_stage_of_zero_that_would_make_a_layout_fit_is_named() -> None:
    given = {"tp": 1, "pp": 1, "cp": 1}
    with pytest.raises(SeedbedError, match="does not fit") as refused:
        plan("llama3-8b", "64xH100", parallel={**given, "zero": 0})
    assert "With ZeRO stage 1 (zero=1 in --parallel) it fits" in refused.value.hint
    assert plan("llama3-8b", "64xH100", parallel={**given, "zero": 1}).setup.layout.zero == 1
    with pytest.raises(SeedbedError, match="does not fit") as refused:
        plan("qwen3-14b", "8xA100", parallel={**given, "zero": 1}, seq_len=1024)
    assert "With FSDP (zero=3 in --parallel) it fits" in refused.value.hint
    assert plan("qwen3-14b", "8xA100", parallel={**given, "zero": 3}, seq_len=1024).setup.layout.zero == 3


@pytest.mark.parametrize(
    ("model", "gpu", "method", "numbers"),
    [("llama3-70b", "H100", "pretrain", (4, 8, 16)), ("qwen3-8b", "RTX4090", "full_ft", (1, 2, 3, 4))],
)
def test_the_number_of_gpus_that_is_named_is_the_smallest(
    model: str, gpu: str, method: str, numbers: tuple[int, ...]
) -> None:
    *fewer, named = numbers
    for number in fewer:
        with pytest.raises(SeedbedError, match=r"does not fit|may fit") as refused:
            plan(model, f"{number}x{gpu}", method=method)
        assert f"It fits for example on {named} of them" in refused.value.hint
    assert plan(model, f"{named}x{gpu}", method=method).setup.num_gpus == named


def test_a_layout_that_needs_only_the_margin_of_the_memory_may_fit() -> None:
    def error_on(gib: float) -> SeedbedError:
        gpu = msgspec.structs.replace(catalog.gpu("h100"), memory_gib=gib, usable_gib=gib)
        with pytest.raises(SeedbedError) as refused:
            make_plan(Request(shape=catalog.model("llama3-8b"), gpu=gpu, num_gpus=8, tokens=1e11))
        return refused.value

    too_small = error_on(8).message
    needed = float(re.search(r"needs ([0-9.]+) GiB", too_small)[1])  # type: ignore[index]
    assert "does not fit on 8 H100" in too_small
    near = error_on(needed / 0.97)
    assert "may fit on 8 H100" in near.message
    assert "5 % are kept free" in near.message
    assert "A try decides: " in near.hint
    assert "does not fit" in error_on(needed / 1.01).message


def test_the_search_returns_the_fastest_layout_that_fits() -> None:
    found = plan("llama3-70b", "256xH100")
    steps = [each.cost.step_s for each in found.candidates]
    assert steps == sorted(steps)
    assert found.cost.step_s == steps[0]
    assert len(steps) > 20
    assert all(each.memory.total <= 79.1 * GIB for each in found.candidates)
    given = {name: getattr(found.setup.layout, name) for name in ("tp", "pp", "cp", "zero", "interleave")}
    same = plan("llama3-70b", "256xH100", parallel={**given, "micro_batch": int(found.setup.layout.micro_batch)})
    assert same.cost.step_s == pytest.approx(found.cost.step_s)


def test_every_layout_uses_all_gpus_and_the_whole_batch() -> None:
    found = plan("mixtral-8x7b", "64xA100")
    for each in found.candidates:
        layout = each.setup.layout
        assert layout.dp * layout.tp * layout.pp * layout.cp == 64
        assert each.setup.micro_batches == int(each.setup.micro_batches)


def test_fewer_gpus_are_compared_with_the_same_batch_and_tokens() -> None:
    number, kind = catalog.parse_gpus("64xH100")
    first, found, tried = plan_on_fewer_gpus(
        Request(shape=catalog.model("llama3-8b"), gpu=kind, num_gpus=number, tokens=1e12)
    )
    sizes = {each.setup.num_gpus for each, _ in found}
    assert {64, 32, 16} <= sizes
    assert {each.setup.tokens_per_step for each, _ in found} == {first.setup.tokens_per_step}
    cheapest = min(found, key=lambda each: each.whole.gpu_hours).found
    assert cheapest.setup.num_gpus < 64
    assert tried > len(found)


CASES = (
    ("llama3-8b", "64xH100", {}, "pretrain"),
    ("llama3-8b", "64xH100", {"tp": 2}, "pretrain"),
    ("llama3-70b", "24xH100", {}, "pretrain"),
    ("mixtral-8x7b", "64xA100", {}, "pretrain"),
    ("deepseek-v3", "512xH800", {"pp": 16}, "pretrain"),
    ("gpt2", "8xV100", {}, "pretrain"),
    ("tiny", "M1", {}, "pretrain"),
    ("qwen3-8b", "4xRTX4090", {}, "full_ft"),
    ("qwen3-8b", "RTX4090", {}, "qlora"),
    ("llama3-70b", "256xH100", {"interleave": 2}, "pretrain"),
)


def setup_and_fixed(model: str, gpus: str, fixed: dict[str, int], method: str) -> Setup:
    number, kind = catalog.parse_gpus(gpus)
    wanted = Request(shape=catalog.model(model), gpu=kind, num_gpus=number, tokens=1e11, parallel=fixed, method=method)
    return make_plan(wanted).setup


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_the_fastest_layout_is_that_of_the_whole_search(case: tuple[str, str, dict[str, int], str]) -> None:
    setup, fixed = setup_and_fixed(*case), case[2]
    ranked, tried = search(setup, fixed)
    assert fastest(setup, fixed) == (ranked[0], tried)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_no_step_is_faster_than_its_bound(case: tuple[str, str, dict[str, int], str]) -> None:
    setup = setup_and_fixed(*case)
    bound = StepBound(setup)
    for each in itertools.islice(candidates(setup, case[2], None), 0, None, 7):
        assert bound.without_recomputation(each) <= bound(each) <= step_cost(each).step_s


def test_the_cost_of_few_layouts_is_computed_to_find_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[Setup] = []
    monkeypatch.setattr(layouts, "step_cost", lambda each: (computed.append(each), step_cost(each))[1])
    for case in (("llama3-8b", "64xH100", {}, "pretrain"), ("mixtral-8x7b", "64xA100", {}, "pretrain")):
        setup = setup_and_fixed(*case)
        computed.clear()
        _, tried = fastest(setup, {})
        assert tried > 1000
        assert 0 < len(computed) < tried / 10


def test_a_layout_that_does_not_fit_is_changed_as_little_as_possible() -> None:
    number, kind = catalog.parse_gpus("16384xH100")
    wanted = Request(
        shape=catalog.model("llama3-405b"), gpu=kind, num_gpus=number, tokens=15.6e12,
        parallel={"tp": 8, "pp": 16, "cp": 1}, recompute="none",
    )  # fmt: skip
    with pytest.raises(SeedbedError) as raised:
        make_plan(wanted)
    assert "With ZeRO stage 2 (zero=2 in --parallel) it fits: dp 128, tp 8, pp 16," in raised.value.hint
    assert make_plan(msgspec.structs.replace(wanted, parallel={**wanted.parallel, "zero": 2})).setup.layout.pp == 16
    selective = make_plan(msgspec.structs.replace(wanted, recompute=None)).setup
    assert (selective.recipe.recompute, selective.layout.zero) == ("selective", 1)


def test_only_the_settings_of_a_layout_that_must_change_do() -> None:
    number, kind = catalog.parse_gpus("8xH100")
    fixed = {"tp": 2, "pp": 1, "cp": 1, "micro_batch": 16}
    wanted = Request(
        shape=catalog.model("llama3-8b"), gpu=kind, num_gpus=number, tokens=1e11, seq_len=32768, parallel=fixed,
        recompute="full",
    )  # fmt: skip
    with pytest.raises(SeedbedError) as raised:
        make_plan(wanted)
    assert "The nearest layout that fits: dp 4, tp 2, " in raised.value.hint
    assert "full recomputation" in raised.value.hint


def test_checkpointing_that_does_not_fit_names_one_that_does() -> None:
    number, kind = catalog.parse_gpus("4xH100")
    with pytest.raises(SeedbedError, match="does not fit") as raised:
        make_plan(
            Request(
                shape=catalog.model("llama3-8b"),
                gpu=kind,
                num_gpus=number,
                tokens=1e11,
                seq_len=65536,
                recompute="none",
            )
        )
    assert "With --recompute" in raised.value.hint
