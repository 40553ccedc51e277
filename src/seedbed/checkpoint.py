"""Save all or nothing; load or say why. Knows tensors by name; refuses to know what they compute.

A checkpoint is a folder `step-00001000` that opens as a Hugging Face model: `model.safetensors` (fp32 masters),
`config.json`, `generation_config.json` and the tokenizer's files, with `optimizer.safetensors` and `trainer.json`
beside them. It is written under a hidden name, made durable, renamed, and only then marked by `DONE`, which holds the
size and SHA-256 of every file. Whatever has no valid `DONE` does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seedbed import events
from seedbed.errors import SeedbedError, StorageError
from seedbed.files import explained, make_dir, publish_dir, remove_tree, sha256_file, temporary_dir, write_atomic
from seedbed.text import quoted

WEIGHTS, OPTIMIZER, TRAINER = "model.safetensors", "optimizer.safetensors", "trainer.json"
CONFIG, GENERATION = "config.json", "generation_config.json"
DONE = "DONE"
FORMAT = 1
_NAME = re.compile(r"step-(\d+)$")
_REPLACED = re.compile(r"\.(step-\d+)\.replaced$")
_HIDDEN = re.compile(r"\.step-\d+\.")
_CHUNK_BYTES = 8 << 20
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class Snapshot(NamedTuple):
    """All that a checkpoint holds, on the CPU and no longer changing (see `take`). `step` counts steps done."""

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    trainer: Mapping[str, Any]
    config: Mapping[str, Any]
    generation_config: Mapping[str, Any]
    tokenizer: Mapping[str, bytes]
    """The tokenizer's files: name to content."""


class Saved(NamedTuple):
    """A checkpoint that was written and read back."""

    path: Path
    size_bytes: int
    write_s: float


class Loaded(NamedTuple):
    """A verified checkpoint, on the CPU. Its tensors are mapped from the files, which keep their disk space until `let_go`."""

    path: Path
    step: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    trainer: dict[str, Any]

    def let_go(self) -> None:
        """Forget the tensors, so that what is deleted frees its space."""
        self.weights.clear()
        self.optimizer.clear()


class Found(NamedTuple):
    """Finished checkpoints, oldest step first, and what was passed over with the reason."""

    good: list[Path]
    skipped: list[tuple[Path, str]]


class _Marker(NamedTuple):
    """A parsed DONE: the sizes and checksums of a checkpoint's files."""

    step: int
    best: bool
    files: dict[str, tuple[int, str]]


# ------------------------------------------------------------------------------------------------ taking


def take(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU copies, so that training may go on. CUDA tensors come through pinned memory, one wait for all."""
    copies: dict[str, Tensor] = {}
    devices: set[torch.device] = set()
    for name, tensor in tensors.items():
        source = tensor.detach()
        pinned = source.device.type == "cuda"
        copy = torch.empty(source.shape, dtype=source.dtype, pin_memory=pinned)
        copies[name] = copy.copy_(source, non_blocking=pinned)
        if pinned:
            devices.add(source.device)
    for device in devices:
        torch.cuda.synchronize(device)
    return copies


# ------------------------------------------------------------------------------------------------ writing


def save(folder: Path, snapshot: Snapshot, *, best: bool = False) -> Saved:
    """Write `folder/step-N`, mark it and read it back; a checkpoint of the same step is replaced.

    Raises StorageError (DiskFullError where space ran out); then nothing unfinished stays and every earlier checkpoint
    is whole.
    """
    begun = time.perf_counter()
    make_dir(folder)
    final = folder / f"step-{snapshot.step:08d}"
    hidden = temporary_dir(folder, final.name)
    try:
        files = _write_files(hidden, snapshot)
        aside = _set_aside(final)
        publish_dir(hidden, final)
    except BaseException:
        remove_tree(hidden)
        raise
    marker = {
        "format": FORMAT,
        "step": snapshot.step,
        "best": best,
        "files": {name: {"size_bytes": size, "sha256": digest} for name, (size, digest) in sorted(files.items())},
    }
    try:
        write_atomic(final / DONE, json.dumps(marker, indent=2) + "\n")
        verify(final)
    except BaseException as error:
        remove_tree(final)
        if isinstance(error, SeedbedError) and not isinstance(error, StorageError):
            hint = "The disk may be failing: check it (`dmesg` tells more)."
            raise StorageError(error.message, hint, "the disk gives back other bytes than were written") from error
        raise
    remove_tree(aside)
    return Saved(final, sum(size for size, _ in files.values()), time.perf_counter() - begun)


def _set_aside(final: Path) -> Path:
    """Make room for a checkpoint of a step that exists; returns where a good one went.

    It stays findable under that hidden name until the new one is marked. One that is not good is removed.
    """
    aside = final.with_name(f".{final.name}.replaced")
    if final.exists():
        if _complaint(final) is None:
            remove_tree(aside)
            publish_dir(final, aside)
        else:
            remove_tree(final)
    return aside


def _write_files(folder: Path, snapshot: Snapshot) -> dict[str, tuple[int, str]]:
    """Write every file but DONE; their sizes and checksums by name."""
    files = {
        WEIGHTS: _write_tensors(folder / WEIGHTS, snapshot.weights),
        OPTIMIZER: _write_tensors(folder / OPTIMIZER, snapshot.optimizer),
        TRAINER: _write(folder / TRAINER, [_json(snapshot.trainer)]),
        CONFIG: _write(folder / CONFIG, [_json(snapshot.config)]),
        GENERATION: _write(folder / GENERATION, [_json(snapshot.generation_config)]),
    }
    for name, content in snapshot.tokenizer.items():
        files[name] = _write(folder / name, [content])
    return files


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    """Write a safetensors file; its bytes depend on the tensors alone.

    The library's own writer first copies every tensor while it holds the interpreter's lock, which would stop training;
    here the bytes go out as they lie (https://huggingface.co/docs/safetensors: length, JSON header, data).
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    views: list[memoryview] = []
    offset = 0
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        view = tensor.reshape(-1).view(torch.uint8).numpy().data
        end = offset + view.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        views.append(view)
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return _write(path, [struct.pack("<Q", len(encoded)), encoded, *views])


def _write(path: Path, parts: Iterable[bytes | memoryview]) -> tuple[int, str]:
    """Write the parts one after the other, hashing on the way; both release the interpreter's lock."""
    digest, size = hashlib.sha256(), 0
    with explained(path), path.open("wb") as handle:
        for part in parts:
            for start in range(0, len(part), _CHUNK_BYTES):
                chunk = part[start : start + _CHUNK_BYTES]
                digest.update(chunk)
                size += handle.write(chunk)
    return size, digest.hexdigest()


# ------------------------------------------------------------------------------------------------ finding and reading


def step_of(path: Path) -> int:
    """The step in a checkpoint folder's name. Raises SeedbedError for another name."""
    replaced = _REPLACED.match(path.name)
    match = _NAME.match(replaced[1] if replaced else path.name)
    if match is None:
        raise SeedbedError(
            f"{quoted(path)} is not named like a checkpoint.", "Name a folder such as checkpoints/step-00001000."
        )
    return int(match[1])


def find(folder: Path) -> Found:
    """The finished checkpoints of a run by step (as numbers), and the reason for each that does not count.

    Looks at markers and sizes alone; `verify` reads the contents.
    """
    good: dict[int, Path] = {}
    skipped: list[tuple[Path, str]] = []
    if not folder.is_dir():
        return Found([], [])
    with explained(folder):
        entries = sorted(folder.iterdir())
    for path in entries:
        if _NAME.match(path.name):
            complaint = _complaint(path)
            if complaint is None:
                good[step_of(path)] = path
            else:
                skipped.append((path, complaint))
    for path in entries:
        # What a save of the same step had set aside when it was cut off.
        if _REPLACED.match(path.name) and step_of(path) not in good and _complaint(path) is None:
            good[step_of(path)] = path
    return Found([good[step] for step in sorted(good)], skipped)


def verify(path: Path, names: Collection[str] | None = None) -> None:
    """Compare a checkpoint's files, or those of some names, with what was recorded of them: size and checksum.

    Raises SeedbedError naming the first that differs.
    """
    complaint = _complaint(path, names)
    if complaint is None:
        with explained(path):
            for name, (_, digest) in _marker(path).files.items():
                if (names is None or name in names) and sha256_file(path / name) != digest:
                    complaint = f"{name} is not what was saved (its checksum differs): it was damaged or edited"
                    break
    if complaint is not None:
        raise SeedbedError(
            f"The checkpoint {path.name} cannot be used: {complaint}.",
            "Use another checkpoint of this run, or restore this one from a backup.",
        )


def verify_weights(path: Path) -> None:
    """Verify the weights of a model folder, for who only reads them: damaged ones would write nonsense.

    A folder that is no checkpoint of ours has nothing to compare with. Raises SeedbedError as `verify` does.
    """
    if _NAME.match(path.name) and (path / DONE).exists():
        verify(path, (WEIGHTS,))


def load(path: Path) -> Loaded:
    """Verify a checkpoint and read all that a resume needs. Raises SeedbedError with the reason where it cannot."""
    verify(path)
    marker = _marker(path)
    for name, what in ((WEIGHTS, "weights"), (OPTIMIZER, "optimizer state"), (TRAINER, "trainer state")):
        if name not in marker.files:
            raise SeedbedError(
                f"The checkpoint {path.name} holds no {what} ({name}), so training cannot go on from it exactly.",
                "Use another checkpoint of this run; this one can still generate.",
            )
    try:
        weights, optimizer = load_file(path / WEIGHTS), load_file(path / OPTIMIZER)
        trainer = json.loads((path / TRAINER).read_bytes())
    except (SafetensorError, ValueError, OSError) as error:
        raise SeedbedError(f"The checkpoint {path.name} cannot be read: {error}.", "Use another checkpoint.") from error
    return Loaded(path, marker.step, weights, optimizer, trainer)


def _marker(path: Path) -> _Marker:
    """The parsed DONE of a checkpoint. Raises ValueError with the reason."""
    try:
        raw = json.loads((path / DONE).read_bytes())
    except FileNotFoundError:
        raise ValueError("it was never finished (it has no DONE)") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"its DONE cannot be read ({error})") from error
    try:
        files = {str(name): (int(each["size_bytes"]), str(each["sha256"])) for name, each in raw["files"].items()}
        marker = _Marker(int(raw["step"]), bool(raw["best"]), files)
        version = int(raw["format"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError("its DONE does not say what was saved") from error
    if version > FORMAT:
        raise ValueError(f"it was written by a newer version (format {version}, this one knows {FORMAT})")
    if WEIGHTS not in files or any(Path(name).name != name for name in files):
        raise ValueError("its DONE does not say what was saved")
    return marker


def _complaint(path: Path, names: Collection[str] | None = None) -> str | None:
    """Why a checkpoint does not count by its marker, names and sizes (of `names` alone); None where it does."""
    try:
        marker = _marker(path)
    except ValueError as error:
        return str(error)
    if marker.step != step_of(path):
        return f"its DONE is that of step {marker.step}"
    for name, (size, _) in marker.files.items():
        if names is not None and name not in names:
            continue
        try:
            there = (path / name).stat().st_size
        except OSError as error:
            return f"{name} is missing or unreadable ({error.strerror})"
        if there != size:
            return f"{name} has {there:,} bytes instead of {size:,}: it was cut or edited"
    return None


# ------------------------------------------------------------------------------------------------ keeping


class Writer:
    """Saves beside training: one write at a time, on a thread of its own; afterwards keeps the newest and the best.

    `keep_every` > 0 keeps those whose step is a multiple of it as well.

    Only the holder of the run's lock may have one, since it first cleans up what cut-off writes left. All finished
    checkpoints in its folder must be in force: others are set aside before. What a write ran into is raised by the next
    `poll` or `close`; after a StorageError its snapshot is kept for `retry`. A checkpoint that cannot be removed stays
    until the next save.
    """

    def __init__(self, folder: Path, *, keep_last: int = 2, keep_every: int = 0) -> None:
        self._folder = folder
        self._keep_last, self._keep_every = max(1, keep_last), keep_every
        make_dir(folder)
        clean_up(folder)
        good = find(folder).good
        self._best = next((path for path in reversed(good) if _marker(path).best), None)
        self._executor: ThreadPoolExecutor | None = None
        self._writing: Future[events.Checkpoint] | None = None
        self._written: list[Future[events.Checkpoint]] = []
        self._stall_s = 0.0
        self._failed: tuple[Snapshot, bool] | None = None

    def submit(self, snapshot: Snapshot, *, best: bool = False, begun: float | None = None) -> None:
        """Start writing and return; waits only where the previous write is still going on.

        `begun` is the `time.perf_counter()` at which the snapshot was begun, so that the event's `stall_s` counts all
        that training waited for.
        """
        begun = time.perf_counter() if begun is None else begun
        self._wait()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "checkpoint-writer", initializer=_give_way)
        self._stall_s = time.perf_counter() - begun
        self._failed = None
        self._writing = self._executor.submit(self._work, snapshot, best)

    def retry(self) -> None:
        """Write the last snapshot again that could not be written; nothing where a later one was submitted since."""
        if self._failed is not None:
            self.submit(self._failed[0], best=self._failed[1])

    def give_up(self) -> None:
        """Let go of the snapshot that could not be written."""
        self._failed = None

    def poll(self) -> list[events.Checkpoint]:
        """What was finished since the last call. Raises what a write ran into, once."""
        if self._writing is not None and self._writing.done():
            self._wait()
        finished: list[events.Checkpoint] = []
        while self._written and not (finished and self._written[0].exception()):
            finished.append(self._written.pop(0).result())
        return finished

    def close(self) -> None:
        """Wait for the write that is going on. Raises what it ran into; what was finished stays for `poll`."""
        self._wait()
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None
        failed = [future for future in self._written if future.exception() is not None]
        self._written = [future for future in self._written if future.exception() is None]
        if failed:
            failed[-1].result()

    def _wait(self) -> None:
        if self._writing is not None:
            wait([self._writing])
            self._written.append(self._writing)
            self._writing = None

    def _work(self, snapshot: Snapshot, best: bool) -> events.Checkpoint:
        stall_s = self._stall_s
        try:
            with explained(self._folder):
                saved = save(self._folder, snapshot, best=best)
        except StorageError:
            self._failed = (snapshot, best)
            raise
        if best:
            self._best = saved.path
        deleted: list[Path] = []
        with suppress(SeedbedError), explained(self._folder):
            self._retain(saved.path, deleted)
        return events.Checkpoint(
            step=snapshot.step,
            path=f"{self._folder.name}/{saved.path.name}",
            size_bytes=saved.size_bytes,
            stall_s=stall_s,
            write_s=saved.write_s,
            best=best,
            deleted=tuple(f"{self._folder.name}/{path.name}" for path in deleted),
        )

    def _retain(self, newest: Path, deleted: list[Path]) -> None:
        """Delete what is neither among the last, nor the best, nor on a step to keep, nor `newest`, just verified."""
        valid = find(self._folder).good
        kept = {newest, self._best, *valid[-self._keep_last :]}
        if self._keep_every > 0:
            kept |= {path for path in valid if step_of(path) % self._keep_every == 0}
        for path in valid:
            if path not in kept:
                with suppress(SeedbedError):
                    remove_tree(path)
                    deleted.append(path)


def clean_up(folder: Path) -> None:
    """Remove what cut-off writes and deletions left: hidden folders, and folders that were never marked.

    A good checkpoint that gave way to a save of the same step gets its name back. For the holder of the run's lock alone.
    """
    good = find(folder).good
    for path in _all(folder, hidden=True):
        unmarked = not path.name.startswith(".") and not (path / DONE).exists()
        if (path.name.startswith(".") or unmarked) and path not in good:
            remove_tree(path)
    for path in good:
        if path.name.startswith("."):
            final = path.with_name(f"step-{step_of(path):08d}")
            remove_tree(final)
            publish_dir(path, final)


def _all(folder: Path, *, hidden: bool = False) -> list[Path]:
    """Every folder here that has to do with a checkpoint, good or not."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and (_NAME.match(path.name) or (hidden and _HIDDEN.match(path.name)))
    ]


def _give_way() -> None:
    """Let training's threads go first. Linux alone has priorities of single threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
