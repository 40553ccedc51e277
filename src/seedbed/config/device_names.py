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
    "advanced amd apple blackwell edition embedded force founders geforce graphics grid gtx hopper instinct jetson laptop "
    "mobile navi nvidia orin pascal pcie quadro radeon rtx server spark super sxm tegra tesla thor titan turing ultra vega "
    "volta workstation xavier"
)
"""Words without digits in the names of GPUs, of which one is enough to name a GPU."""
_NAME = re.compile(r"[\w .()/+-]+")


def may_name_gpu(name: str) -> bool:
    """Whether a text has no other characters than names of GPUs have."""
    return _NAME.fullmatch(name) is not None


def device_problems(device: str, key: str) -> Iterator[Contradiction]:
    """Yield a contradiction for a value of the config key `key` that is not the name of a device on any machine.

    A name with a digit or of several words may be that of another machine's GPU, and so may a word of such names.
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
    """Whether a text may be part of a GPU's name: it has a digit, several words, or a word of such names or most of one."""
    if any(char.isdigit() for char in wanted) or len(re.findall(r"[^\W_]+", wanted)) > 1:
        return True
    return len(wanted) > 2 and wanted in _WORDS_OF_GPUS
