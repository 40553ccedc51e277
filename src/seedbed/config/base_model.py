"""The base of a training (`base.model`, --from): what the model folder contains, and the config values that follow from it.

Shape, vocabulary and tokenizer are the base's own, so other values for them are refused. `facts/train_from.toml` has the
other values, in place of a preset's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from seedbed.checkpoint.fingerprint import weights_fingerprint
from seedbed.checkpoint.headers import tensor_headers
from seedbed.config.arithmetic import count_parameters
from seedbed.config.check import fitting_micro_batch
from seedbed.config.families.config_json import config_from_hf, read_config_json
from seedbed.config.families.tensors import check_files
from seedbed.config.keys import keys
from seedbed.config.layers import Layer, merge, of_tables
from seedbed.config.paths import is_model_path
from seedbed.config.roots import Root
from seedbed.config.row_context import with_row_context
from seedbed.config.schema import Config, DataConfig, ModelConfig, TrainConfig
from seedbed.config.values import shown
from seedbed.errors import SeedbedError, UsageError
from seedbed.text import plural, quoted

FROM = "from"
"""The name that takes the place of a preset's in a config that starts from a trained model."""
KEY, FOLDER, FINGERPRINT = "base.model", "base.folder", "base.fingerprint"
DEFAULTS = "default of --from"
"""The origin of the values in facts/train_from.toml."""
_MEMORY_SHARE = 0.5
"""The part of the free memory for which a micro-batch is chosen: a larger one is hardly faster on a CPU."""
_FACTS = Path(__file__).parent / "facts" / "train_from.toml"


def _unknown(device: str) -> int | None:
    return None


def _without_machine(train: TrainConfig) -> str:
    """The precision of a training if nothing is known about the machine: for `auto`, that which needs the most memory."""
    return "fp32" if train.precision == "auto" else train.precision


class BaseModel(NamedTuple):
    """A trained model from which a training starts."""

    reference: str
    """What a config records: the absolute path of a folder, hub:NAME@COMMIT, or RUN@STEP."""
    name: str
    """A short name for messages, such as `SmolLM2-135M-Instruct`."""
    folder: Path
    model: ModelConfig
    """The shape in its config.json, with all its positions as the context."""
    vocab_rows: int
    fingerprint: str
    data: DataConfig | None = None
    """The data of the run that trained it, which a training without --data uses again; None if it is not of a run."""
    free_bytes: Callable[[str], int | None] = _unknown
    """The free memory of the device that `train.device` names, in bytes; None if unknown."""
    precision: Callable[[TrainConfig], str] = _without_machine
    """The precision in which this machine would train."""

    @property
    def positions(self) -> int:
        """The longest sequence that the model can read, in tokens."""
        return self.model.longest_context

    @property
    def origin(self) -> str:
        """The origin of the values that the base decides, such as `base SmolLM2-135M-Instruct`."""
        return f"base {self.name}"


OpenBase = Callable[[str], BaseModel]
"""A function that finds the model that `base.model` refers to. Raises SeedbedError if it is missing or unusable."""


class Wanted(NamedTuple):
    """The base that a config asks for: `base.model`, where it was given, and the fingerprint that was given beside it."""

    reference: str
    origin: str
    fingerprint: str | None


def read_base(folder: Path, reference: str, name: str) -> BaseModel:
    """Read what the model in a folder is.

    Raises SeedbedError if config.json or the weights are missing, damaged, unsupported, or contradict each other.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no model folder {quoted(folder)}.", "Check the path given with --from.")
    parsed = read_config_json(folder)
    try:
        model, vocab_rows = config_from_hf(parsed)
        check_files(model, vocab_rows, tensor_headers(folder))
        return BaseModel(reference, name, folder, model, vocab_rows, weights_fingerprint(folder))
    except SeedbedError as error:
        raise SeedbedError(f"{quoted(folder)}: {error.message}", error.hint) from error


def open_folder(reference: str) -> BaseModel:
    """The model in a folder. Raises UsageError for a run or a model on the Hub, which need the store or a network."""
    if not is_model_path(reference):
        raise UsageError(
            f"base.model = {shown(reference)} is not the path of a model folder.", "Give the path of a folder here."
        )
    folder = Path(reference)
    return read_base(folder, reference, folder.name)


def wanted_base(layers: Sequence[Layer]) -> Wanted | None:
    """The base that the highest layer with `base.model` asks for; None if none does. `layers`: lowest first."""
    for layer in reversed(layers):
        if KEY in layer.values:
            return Wanted(str(layer.values[KEY]), layer.origins[KEY], layer.values.get(FINGERPRINT))
    return None


def merged_with(
    base: BaseModel, wanted: Wanted, earlier: Layer | None, layers: Sequence[Layer], root: Root[Any]
) -> Layer:
    """The values of a config that starts from `base`: its own, those of the earlier run, and `layers` above them.

    Raises UsageError for a value that contradicts the base, and if no data is given.
    """
    if wanted.fingerprint not in (None, base.fingerprint):
        raise UsageError(
            f"The weights in {quoted(base.folder)} are not those that the config names: their fingerprint differs.",
            f"Restore the weights, or leave out {FINGERPRINT} to train on from these.",
        )
    own = _own_values(base, root)
    given = merge([*([_of_earlier(earlier)] if earlier is not None else []), *map(_without_base, layers)], root)
    _refuse_contradictions(base, own, given, root)
    data = Layer({}, {})
    if base.data is not None and "data.source" not in given.values:
        values = {f"data.{name}": getattr(base.data, name) for name in base.data.__struct_fields__}
        data = Layer(values, dict.fromkeys(values, base.origin))
    own = with_row_context(own, [data, given], min(base.positions, facts()["window"]["row_context"]))
    all_values = merge([own, data, given], root)
    if "data.source" not in all_values.values:
        raise UsageError(
            "No text is given on which to train the model further.",
            "Give it with --data, such as --data text:~/notes (`seedbed config keys data.source` lists the sources).",
        )
    named = Layer({KEY: base.reference}, {KEY: wanted.origin})
    return merge([all_values, named], root)


def fitted(config: Config, origins: dict[str, str], base: BaseModel) -> Config:
    """The config with the largest `train.micro_batch` that fits into half of the free memory, if none was given.

    Updates `origins`. The result of the training does not depend on it.
    """
    free = base.free_bytes(config.train.device) if "train.micro_batch" not in origins else None
    if free is None:
        return config
    precision = base.precision(config.train)
    rows = fitting_micro_batch(config, base.vocab_rows, int(free * _MEMORY_SHARE), precision)
    if not rows:
        return config
    origins["train.micro_batch"] = "fits into half of the free memory"
    return replace(config, train=replace(config.train, micro_batch=rows))


def learning_rate(parameters: int) -> float:
    """The peak learning rate of AdamW for training on a model of this size; see facts/train_from.toml for its sources."""
    rate = facts()["rate"]
    scaled = rate["peak"] * (rate["parameters"] / max(parameters, 1)) ** rate["exponent"]
    return float(f"{min(scaled, rate['most']):.1e}")


@cache
def facts() -> dict[str, dict[str, Any]]:
    """The content of facts/train_from.toml."""
    return tomllib.loads(_FACTS.read_text(encoding="utf-8"))


def _own_values(base: BaseModel, root: Root[Any]) -> Layer:
    """The values that the base decides, and the defaults for training on from it."""
    defaults = of_tables(
        {table: facts()[table] for table in ("optimizer", "schedule", "train")}, DEFAULTS, Path(), root
    )
    shape = {f"model.{name}": getattr(base.model, name) for name in base.model.__struct_fields__}
    values: dict[str, Any] = {path: value for path, value in shape.items() if value is not None} | {
        "model.context": min(base.positions, facts()["window"]["context"]),
        "model.max_context": base.positions,
        "tokenizer.vocab_size": base.vocab_rows,
        "optimizer.lr": learning_rate(count_parameters(base.model, base.vocab_rows)),
        FOLDER: str(base.folder),
        FINGERPRINT: base.fingerprint,
    }
    return merge([defaults, Layer(values, dict.fromkeys(values, base.origin))], root)


def _of_earlier(earlier: Layer) -> Layer:
    """The values of an earlier run that started from a model, without those that its own base decided."""
    kept = {
        path: value
        for path, value in earlier.values.items()
        if path == "model.context" or path.partition(".")[0] not in ("base", "model", "tokenizer")
    }
    return Layer(kept, {path: earlier.origins[path] for path in kept})


def _without_base(layer: Layer) -> Layer:
    kept = {path: value for path, value in layer.values.items() if not path.startswith("base.")}
    return Layer(kept, {path: layer.origins[path] for path in kept})


def _refuse_contradictions(base: BaseModel, own: Layer, given: Layer, root: Root[Any]) -> None:
    """Raise UsageError for the first given value that contradicts what the base decides."""
    for path, value in given.values.items():
        table, where = path.partition(".")[0], f"{path} ({given.origins[path]}) is {shown(value)}"
        expected = own.values.get(path, keys(root)[path].default)
        if path == "model.context":
            _refuse_longer(base, value, where)
        elif table == "model" and value != expected:
            raise UsageError(
                f"{where}, but the base {base.name} has {shown(expected)}: its shape cannot be changed.",
                f"Remove {path}. For a model of another shape, train from scratch, without --from.",
            )
        elif table == "tokenizer" and value != expected:
            raise UsageError(
                f"{where}, but the base {base.name} is trained on with its own tokenizer, to which its embedding belongs.",
                f"Remove {path}.",
            )


def _refuse_longer(base: BaseModel, context: int, where: str) -> None:
    positions = base.positions
    if context > positions:
        raise UsageError(
            f"{where}, but the base {base.name} has {plural(positions, 'position')}. It computes nonsense at later positions, "
            "unless its positions are scaled.",
            f"Set model.context to {positions} or less. If the base has a rope scaling for longer texts, its config.json must "
            "say so.",
        )
