"""The names that a device option takes, and what is wrong with a name that no machine can have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from seedbed.config.roots import Contradiction

FORMS = "auto, cpu, gpu, cuda, cuda:N, mps, or part of a GPU's name such as A30"
"""What a device option takes, in words."""
_DEVICES = ("auto", "cpu", "gpu", "cuda", "mps")
_OTHER_DEVICES = {
    "directml": "",
    "hip": "cuda",
    "hpu": "",
    "metal": "mps",
    "npu": "",
    "opencl": "",
    "rocm": "cuda",
    "tpu": "",
    "vulkan": "",
    "xla": "",
    "xpu": "",
}
"""Device names of other programs -> the equivalent here, "" if there is none."""
_WORDS_OF_GPUS = (
    "ada advanced amd apple blackwell core corporation device edition embedded founders generation geforce graphics grid "
    "gtx hbm inc instinct jetson laptop max micro mobile nano navi nvidia nvl orin pascal pcie plus pro quadro radeon rtx "
    "rx series server spark super sxm tegra tesla thor ti titan turing ultra vega vii volta workstation xavier xp xt xtx"
)
"""Words without digits that occur in the names of GPUs."""
_NAME = re.compile(r"[\w .()/+-]+")


def may_name_gpu(name: str) -> bool:
    """Whether a text has no other characters than names of GPUs have."""
    return _NAME.fullmatch(name) is not None


def device_problems(device: str, key: str) -> Iterator[Contradiction]:
    """Yield a contradiction for a value of the config key `key` that is not the name of a device on any machine.

    A name with a digit may be part of the name of another machine's GPU, and so may the words of such names.
    """
    wanted = device.strip().lower()
    name, number = re.fullmatch(r"(.*?)[:_ -]?(\d*)", wanted, re.DOTALL).groups()  # type: ignore[union-attr]
    if wanted in ("", *_DEVICES) or re.fullmatch(r"cuda:\d+", wanted):
        return
    if name in _OTHER_DEVICES:
        meant = _OTHER_DEVICES[name]
        yield Contradiction(
            "Seedbed runs on a CPU, a CUDA or ROCm GPU, or an Apple GPU",
            f"For this device, set {key} to {meant}." if meant else f"Set {key} to auto.",
            (key,),
        )
        return
    import difflib

    close = [name] if name in _DEVICES else difflib.get_close_matches(name, _DEVICES, n=1, cutoff=0.75)
    if close and len(name) > 2:  # two letters may begin a GPU's name, such as GP100
        meant = f"cuda:{number}" if number and close[0] in ("cuda", "gpu") else close[0]
        yield Contradiction("Unknown device", f"Did you mean {meant}?", (key,))
    elif not may_name_gpu(wanted) or not _is_known(wanted):
        yield Contradiction("Unknown device", f"Use {FORMS}.", (key,))


def _is_known(wanted: str) -> bool:
    """Whether a text has a digit, or only parts of words that occur in the names of GPUs."""
    words = re.findall(r"[^\W_]+", wanted)
    is_part = bool(words) and all(word in _WORDS_OF_GPUS for word in words)
    return is_part or any(char.isdigit() for char in wanted)
