"""A plan of a training as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from seedbed import text
from seedbed.simulate.constants import PRIORS, fitted_file
from seedbed.simulate.intervals import CLASSES, class_of
from seedbed.simulate.layouts import layout_text
from seedbed.simulate.lora import lora_parameters
from seedbed.simulate.memory import GIB
from seedbed.simulate.plan import DAY_S, Plan, Ranked
from seedbed.simulate.request import network_text, sequences_text, software_text
from seedbed.simulate.setup import Setup
from seedbed.simulate.source import source_of

if TYPE_CHECKING:
    from seedbed.simulate.target import Enough

_FITTED_NOTE = "fitted on published runs"


def title(plan: Plan) -> str:
    """One line: what is trained on what, and how long it takes."""
    setup = plan.setup
    gpus = f"{setup.num_gpus:,} {setup.gpu.name}"
    return f"{setup.shape.name} on {gpus}: {text.count(plan.tokens)} tokens in {period(plan.wall_s)}"


_LONG_UNITS = ((2 * 365 * DAY_S, 365 * DAY_S, "years"), (DAY_S, DAY_S, "days"))
"""From which time on, the seconds of a unit, and its name. Shorter times are written as for a run."""


def period(seconds: float) -> str:
    """A time of any length: `0.66s`, `1h 03m`, `280 days`, `1.4 years`."""
    for least, size, name in _LONG_UNITS:
        if seconds >= least:
            return f"{_digits(seconds / size)} {name}"
    return f"{seconds:.2g}s" if seconds < 9.95 else text.duration(seconds)


def span(low_s: float, high_s: float) -> str:
    """An interval of times, each as `period` writes their middle: `16.3 to 21.4 days`, `55m 00s to 1h 13m`."""
    middle = math.sqrt(low_s * high_s)
    for least, size, name in _LONG_UNITS:
        if middle >= least:
            return f"{_digits(low_s / size)} to {_digits(high_s / size)} {name}"
    low, high = (f"{each:.2g}s" if each < 9.95 else _short(each) for each in (low_s, high_s))
    return f"{low} to {high}"


def _short(seconds: float) -> str:
    """A time in hours and minutes also beyond a day."""
    if seconds < DAY_S:
        return text.duration(seconds)
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}h {minutes:02d}m"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def money(usd: float) -> str:
    """An amount such as `$1.72 M` or `$43`."""
    for scale, suffix in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if usd >= scale:
            return f"${usd / scale:.3g}{suffix}"
    return f"${usd:.3g}" if usd < 100 else f"${usd:.0f}"


def rows(plan: Plan, enough: Enough | None = None) -> list[tuple[str, str]]:
    """The lines of a plan: label and text. `enough`: what would keep a target that is missed."""
    setup, cost = plan.setup, plan.cost
    low, high = plan.wall_s / plan.factor, plan.wall_s * plan.factor
    found = [
        ("time", f"{period(plan.wall_s)}, most likely {span(low, high)} (80 %)"),
        ("steps", f"{plan.steps:,} of {text.count(setup.tokens_per_step)} tokens, {seconds(cost.step_s)} each"),
        ("speed", _speed(plan)),
        ("memory", f"{plan.memory.total / GIB:.3g} of {setup.gpu.usable_gib:.3g} GiB per GPU"),
        ("money", _price(plan)),
        ("energy", _energy(plan)),
        ("failures", _failures(plan)),
        ("layout", layout_text(setup)),
        ("setup", _setup(setup, plan.assumed)),
    ]
    if setup.recipe.method == "pretrain":
        found.insert(-3, ("loss", f"{plan.loss:.3f} nats per token of web text (scaling law)"))
    if plan.assumed:
        found.append(("assumed", "; ".join(plan.assumed)))
    if plan.notes:
        found.append(("note", "; ".join(plan.notes)))
    if plan.target_days is not None:
        found.insert(1, ("target", _target(plan, enough)))
    return found


_METHODS = {"pretrain": "pre-training", "full_ft": "full fine-tuning", "lora": "LoRA", "qlora": "QLoRA"}


def _setup(setup: Setup, assumed: Sequence[str]) -> str:
    """What is given and the layout does not say: method, sequences, precision, software, network. `assumed`: what is not."""
    recipe = setup.recipe
    rank = f" of rank {recipe.lora_parameters // lora_parameters(setup.shape, 1)}" if recipe.is_lora else ""
    said = [
        f"{_METHODS[recipe.method]}{rank}",
        sequences_text(recipe.seq_len),
        f"fp32{_without_tf32(setup)}" if recipe.precision == "fp32" else recipe.precision,
        software_text(recipe.stack),
    ]
    if setup.num_gpus > setup.node_gpus:
        said.append(network_text(setup.network_gbps))
    return ", ".join(each for each in said if each not in assumed)


def _without_tf32(setup: Setup) -> str:
    return " without TF32 (as `seedbed train`)" if "tf32" in setup.gpu.peak_tflops else ""


def _speed(plan: Plan) -> str:
    cost = plan.cost
    of = " of the fp32 peak" if plan.setup.recipe.precision == "fp32" else ""
    each = f"{text.count(cost.tokens_per_s_per_gpu)} per GPU, " if plan.setup.num_gpus > 1 else ""
    return f"{text.count(cost.tokens_per_s)} tokens/s, {each}MFU {100 * cost.mfu:.0f} %{of}"


def seconds(value: float) -> str:
    """The time of a step or its part, such as `1.2 ms`, `3.4 s` or `17m 20s`."""
    if value >= 1000:
        return text.duration(value)
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def _price(plan: Plan) -> str:
    if plan.usd is None or plan.usd_per_hour is None:
        return f"no price for this GPU is known; {text.count(plan.gpu_hours)} GPU hours"
    source = source_of(plan.setup.gpu.sources, "usd_per_hour")
    given = plan.usd_per_hour != plan.setup.gpu.usd_per_hour
    where = "as given" if given or source is None else f"{source.source.split(',')[0]}, {source.date}"
    price = f"${plan.usd_per_hour:.2f}" if plan.usd_per_hour else "$0"
    return f"{money(plan.usd)}: {text.count(plan.gpu_hours)} GPU hours at {price} ({where})"


_AROUND = {"server": "with servers and cooling", "desktop": "with its computer", "laptop": "with its laptop"}
"""Kind of machine -> what the energy has besides that of the GPUs."""


def _energy(plan: Plan) -> str:
    kwh, around = plan.energy_kwh, _AROUND[plan.setup.gpu.machine]
    if kwh is None:
        return "the power of this GPU is not known"
    for scale, unit in ((1e6, "GWh"), (1e3, "MWh")):
        if kwh >= scale:
            return f"{kwh / scale:.3g} {unit} {around}"
    return f"{kwh:.3g} kWh {around}"


def _failures(plan: Plan) -> str:
    scenario = plan.scenario
    mtbf_s = scenario.checkpointing().mtbf_s
    every = scenario.interval_steps()
    apart = f"one in {period(mtbf_s)} expected" if mtbf_s < plan.wall_s else "fewer than one expected"
    share = f"{100 * plan.effective:.1f} % of the time counts"
    if every >= plan.steps:
        return f"{apart}; {share}; one checkpoint at the end is enough"
    steps = text.plural(every, "step", f"{every:,}")
    return f"{apart}; {share} with a checkpoint every {steps} ({period(every * plan.cost.step_s)})"


def _target(plan: Plan, enough: Enough | None) -> str:
    assert plan.target_days is not None
    target_s = plan.target_days * DAY_S
    days = text.plural(plan.target_days, "day")
    if plan.wall_s <= target_s:
        return f"{days}: kept, with {period(target_s - plan.wall_s)} to spare{_odds(plan)}"
    missed = f"{days}: missed by {period(plan.wall_s - target_s)}{_odds(plan)}"
    if enough is None:
        return missed
    if enough.num_gpus is None or enough.wall_s is None:
        ways = [f"no number of such GPUs up to {enough.most_gpus:,} keeps it"]
    else:
        ways = [f"{enough.num_gpus:,} such GPUs keep it ({period(enough.wall_s)})"]
    if enough.tokens is not None:
        ways.append(f"{text.count(enough.tokens)} tokens keep it on {plan.setup.num_gpus:,}")
    return f"{missed}; {', '.join(ways)}"


def _odds(plan: Plan) -> str:
    """How likely the target is kept, if it lies in the interval of the prediction (a log-normal one)."""
    assert plan.target_days is not None
    ratio = plan.target_days * DAY_S / plan.wall_s
    if not 1 / plan.factor <= ratio <= plan.factor:
        return ""
    from statistics import NormalDist  # takes some milliseconds

    tenths = round(10 * NormalDist().cdf(math.log(ratio) / math.log(plan.factor) * NormalDist().inv_cdf(0.9)))
    odds = "about even odds" if tenths == 5 else f"it is kept in about {tenths} of 10 cases"
    return f" (within the interval: {odds})"


def explanation(plan: Plan) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Where the time of a step and the memory of a GPU go: a title, then label, amount and share for each part."""
    step, memory = plan.cost.step_s, plan.memory
    time = [(name, seconds(value), f"{100 * value / step:.1f} %") for name, value in sorted_parts(plan.cost.parts)]
    names = memory._asdict()
    held = [
        (name, f"{value / GIB:.3g} GiB", f"{100 * value / memory.total:.1f} %")
        for name, value in sorted_parts(names)
        if value
    ]
    return [(f"A step of {seconds(step)}", time), (f"Memory of a GPU: {memory.total / GIB:.3g} GiB", held)]


def sorted_parts(parts: Mapping[str, float]) -> list[tuple[str, float]]:
    """The parts, largest first."""
    return sorted(parts.items(), key=lambda item: -item[1])


def basis(plan: Plan) -> list[str]:
    """Sentences that say which figures are measured, fitted or assumed."""
    file = fitted_file()
    name = class_of(plan.setup)
    spread = file.spreads.get(name)
    seen = f"{spread.rows} published runs" if spread else "no published runs"
    return [
        "Measured: peak and matmul rates, bandwidths and prices, each with its source (`seedbed plan --list gpus`).",
        f"Fitted: {len(PRIORS.__struct_fields__)} constants on {file.rows} published runs ({file.date}).",
        f"Interval: from {seen} of this class ({CLASSES[name]}), each predicted without its own source.",
        "Assumed: shares of bandwidth, power, recovery times, storage. docs/planner.md names each, and the errors.",
    ]


def layouts_table(ranked: Sequence[Ranked]) -> list[list[str]]:
    """Rows of the layouts that fit, in the given order: time of the whole training, step, MFU, memory, money, layout."""
    return [
        [
            f"{found.setup.num_gpus:,}",
            period(whole.wall_s),
            seconds(found.cost.step_s),
            f"{100 * found.cost.mfu:.0f} %",
            f"{found.memory.total / GIB:.3g}",
            "-" if whole.usd is None else money(whole.usd),
            layout_text(found.setup),
        ]
        for found, whole in ranked
    ]


LAYOUT_COLUMNS = ("GPUs", "training", "step", "MFU", "GiB", "money", "layout")


def as_json(plan: Plan, enough: Enough | None = None) -> dict[str, Any]:
    """The plan as an object of raw numbers in SI units. `enough`: what would keep a target that is missed."""
    setup = plan.setup
    return {
        "model": setup.shape.name,
        "parameters": setup.shape.parameters,
        "active_parameters": setup.shape.active_parameters,
        "gpu": setup.gpu.name,
        "num_gpus": setup.num_gpus,
        "tokens": plan.tokens,
        "steps": plan.steps,
        "tokens_per_step": setup.tokens_per_step,
        "step_s": plan.cost.step_s,
        "step_parts_s": plan.cost.parts,
        "tokens_per_s": plan.cost.tokens_per_s,
        "tokens_per_s_per_gpu": plan.cost.tokens_per_s_per_gpu,
        "mfu": plan.cost.mfu,
        "interval_factor": plan.factor,
        "train_s": plan.train_s,
        "wall_s": plan.wall_s,
        "wall_low_s": plan.wall_s / plan.factor,
        "wall_high_s": plan.wall_s * plan.factor,
        "effective_share": plan.effective,
        "memory_bytes": plan.memory.total,
        "memory_parts_bytes": plan.memory._asdict(),
        "gpu_hours": plan.gpu_hours,
        "usd": plan.usd,
        "energy_kwh": plan.energy_kwh,
        "loss": plan.loss,
        "checkpoint_every": plan.scenario.interval_steps(),
        "layout": msgspec.to_builtins(setup.layout),
        "network_gbps_per_gpu": setup.network_gbps,
        "recipe": msgspec.to_builtins(setup.recipe),
        "target_days": plan.target_days,
        "target_kept": None if plan.target_days is None else plan.wall_s <= plan.target_days * DAY_S,
        "target_num_gpus": None if enough is None else enough.num_gpus,
        "target_tokens": None if enough is None else enough.tokens,
        "assumed": list(plan.assumed),
        "notes": list(plan.notes),
    }


def layout_json(ranked: Ranked) -> dict[str, Any]:
    """A layout with its cost as an object of raw numbers."""
    found, whole = ranked
    return {
        "num_gpus": found.setup.num_gpus,
        "step_s": found.cost.step_s,
        "train_s": whole.train_s,
        "wall_s": whole.wall_s,
        "effective_share": whole.effective,
        "gpu_hours": whole.gpu_hours,
        "usd": whole.usd,
        "tokens_per_s": found.cost.tokens_per_s,
        "mfu": found.cost.mfu,
        "memory_bytes": found.memory.total,
        "layout": msgspec.to_builtins(found.setup.layout),
        "recompute": found.setup.recipe.recompute,
    }
