"""Read a model's weights from safetensors files straight into a decoder, through one small buffer.

Each tensor is read at the place that the header names, into the rows of the parameter that store it. So the weights are in
memory once, in the wanted dtype: measured 1.02 times their size at most, where a memory map that is copied needs 1.5 to 2
times. The pages of a file that is read, unlike mapped ones, do not count as memory of the process. What need not be copied at
all can be mapped instead: see mapping.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import torch
from torch import Tensor

from seedbed.checkpoint.headers import TensorInfo
from seedbed.config.families.tensors import (
    Piece,
    by_tensor,
    head_copy,
    not_tied_error,
    segments,
    stored_names,
)
from seedbed.errors import SeedbedError
from seedbed.hardware.cpu import usable_cores
from seedbed.model.decoder import Decoder
from seedbed.model.mapping import map_parameters
from seedbed.model.weights import rows_of
from seedbed.text import quoted

BUFFER_BYTES = 1 << 20
"""Bytes that are read, converted and checked at a time: few enough to stay in the cache of a core (4 MiB: half as fast)."""
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_OPEN_FILES = 64
_MOST_READERS = 4
"""Threads that read. Most of the time is spent by the system on memory that is written for the first time."""
_GROUP_BYTES = 8 << 20
"""Bytes of tensors that a thread reads before it takes more."""


@torch.no_grad()
def read_weights(model: Decoder, headers: Mapping[str, TensorInfo], *, mapped: bool = False) -> bool:
    """Read the weights that `tensor_headers` found into the model, on its device and in its dtype.

    `mapped`: use the weights in the files where they lie, as far as possible, if the model is on the CPU. Returns whether some
    are.

    Call `check_files` (families/tensors.py) first. Raises SeedbedError for a tensor with NaN or infinite numbers, for numbers
    that the model's dtype cannot represent, for a tied head that differs from the embedding, and for a file that cannot be read.
    """
    config = model.config
    given = {ours: headers[theirs] for ours, theirs in stored_names(config, headers).items()}
    parameters = dict(model.named_parameters())
    tensors = sorted(by_tensor(config, model.vocab_rows).items(), key=lambda item: _place(given[item[0]]))
    widest = max((info.num_bytes // info.shape[0] for info in given.values() if info.num_bytes), default=0)
    device = model.embed.weight.device
    in_place: set[str] = set()
    if mapped and device.type == "cpu":
        in_place = map_parameters(parameters, ((given[name], parts) for name, parts in tensors), DTYPES)
    with _one_thread(), ExitStack() as stack:
        number = min(_MOST_READERS, usable_cores()) if device.type == "cpu" else 1
        readers = [stack.enter_context(_Reader(max(BUFFER_BYTES, widest), device)) for _ in range(number)]
        idle: SimpleQueue[_Reader] = SimpleQueue()
        for reader in readers:
            idle.put(reader)

        def read(group: list[Named]) -> None:
            reader = idle.get()
            try:
                for name, parts in group:
                    reader.read(name, given[name], parts, parameters, in_place)
            finally:
                idle.put(reader)

        _in_threads(read, _groups(tensors, given), number)
        tied = head_copy(config)
        if tied is not None and tied[1] in given and not readers[0].are_equal(given[tied[0]], given[tied[1]]):
            raise not_tied_error(config)
    return bool(in_place)


Named = tuple[str, Sequence[Piece]]


def _groups(tensors: Sequence[Named], given: Mapping[str, TensorInfo]) -> list[list[Named]]:
    """The tensors in groups of about `_GROUP_BYTES`, in the same order."""
    groups: list[list[Named]] = []
    size = _GROUP_BYTES
    for each in tensors:
        if size >= _GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(each)
        size += given[each[0]].num_bytes
    return groups


def _in_threads(read: Callable[[list[Named]], None], groups: Sequence[list[Named]], number: int) -> None:
    """Call `read` for each group in several threads. Raises the error of the first group in order that has one."""
    if number == 1 or len(groups) == 1:
        for group in groups:
            read(group)
        return
    with ThreadPoolExecutor(number, thread_name_prefix="read-weights") as threads:
        waiting = [threads.submit(read, group) for group in groups]
        try:
            for each in waiting:
                each.result()
        finally:
            threads.shutdown(cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let each operation of PyTorch use one thread: on a busy machine, several wait for each other at every buffer.

    That took 12 s instead of 1 s. The threads that read do not wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _place(info: TensorInfo) -> tuple[Path, int]:
    return info.file, info.offset


class _Reader:
    """Reads tensors of safetensors files through a buffer. A context manager: closes the files at the end."""

    def __init__(self, buffer_bytes: int, device: torch.device) -> None:
        self._buffer = torch.empty(buffer_bytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._files: dict[Path, FileIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @torch.no_grad()  # of each thread
    def read(
        self,
        name: str,
        info: TensorInfo,
        parts: Sequence[Piece],
        parameters: Mapping[str, Tensor],
        in_place: Collection[str],
    ) -> None:
        """Read a tensor into the rows of its pieces; only check the numbers of those parameters that are mapped, `in_place`."""
        if parts[0].transposed:
            self._read_transposed(name, info, parts, parameters)
            return
        row_bytes = info.num_bytes // max(info.shape[0], 1)
        for piece, ours, theirs, count in segments(parts):
            target = rows_of(parameters[piece.ours], piece)[ours : ours + count].view(-1)
            if piece.ours in in_place:
                for part in target.split(BUFFER_BYTES // target.itemsize):
                    _check_finite(part, part, name)
            else:
                self._read_into(target, name, info, info.offset + theirs * row_bytes)

    def _read_into(self, target: Tensor, name: str, info: TensorInfo, offset: int) -> None:
        """Read numbers of a tensor, from byte `offset` of its file on, into all of `target` [n], contiguous."""
        dtype = DTYPES[info.dtype]
        is_direct = target.device.type == "cpu" and target.dtype == dtype
        step = self._buffer.numel() // dtype.itemsize
        for begin in range(0, target.numel(), step):
            part = target[begin : begin + step]
            chunk = part if is_direct else self._buffer[: part.numel() * dtype.itemsize].view(dtype)
            self._fill(chunk, info.file, offset + begin * dtype.itemsize)
            if not is_direct:
                part.copy_(chunk)
            _check_finite(part, chunk, name)

    def _read_transposed(
        self, name: str, info: TensorInfo, parts: Sequence[Piece], parameters: Mapping[str, Tensor]
    ) -> None:
        """Read a matrix that is stored as [in, out] into the rows of its pieces, some of its rows at a time."""
        dtype, (inputs, outputs) = DTYPES[info.dtype], info.shape
        step = max(1, self._buffer.numel() // (outputs * dtype.itemsize))
        for begin in range(0, inputs, step):
            end = min(begin + step, inputs)
            stored = self._buffer[: (end - begin) * outputs * dtype.itemsize].view(dtype).view(end - begin, outputs)
            self._fill(stored, info.file, info.offset + begin * outputs * dtype.itemsize)
            turned = stored.t().contiguous()
            for piece, ours, theirs, count in segments(parts):
                target = rows_of(parameters[piece.ours], piece)[ours : ours + count, begin:end]
                source = turned[theirs : theirs + count]
                target.copy_(source)
                _check_finite(target, source, name)

    def are_equal(self, one: TensorInfo, other: TensorInfo) -> bool:
        """Whether two tensors of the same shape have the same numbers."""
        return all(torch.equal(*each) for each in zip(self._chunks(one, 0), self._chunks(other, 1), strict=True))

    def _chunks(self, info: TensorInfo, half: int) -> Iterator[Tensor]:
        """A tensor in pieces, as fp32, read through one half of the buffer."""
        dtype, room = DTYPES[info.dtype], self._buffer.numel() // 2
        count, step = info.num_bytes // dtype.itemsize, room // 8  # 8: the widest number, so that all dtypes step alike
        for begin in range(0, count, step):
            length = min(step, count - begin) * dtype.itemsize
            chunk = self._buffer[half * step * 8 :][:length].view(dtype)
            self._fill(chunk, info.file, info.offset + begin * dtype.itemsize)
            yield chunk.float()

    def _fill(self, chunk: Tensor, file: Path, offset: int) -> None:
        """Fill a contiguous CPU tensor with the bytes of a file from `offset` on. Raises SeedbedError if it is too short."""
        view: memoryview = chunk.view(-1).view(torch.uint8).numpy().data
        try:
            handle = self._open(file)
            handle.seek(offset)
            done = 0
            while done < len(view):
                count = handle.readinto(view[done:])
                if not count:
                    raise SeedbedError(
                        f"{quoted(file.name)} cannot be read: it has become shorter.", "Download or copy it again."
                    )
                done += count
        except OSError as error:
            raise SeedbedError(
                f"{quoted(file.name)} cannot be read: {error.strerror or error}.",
                "The file or its disk is damaged. Download or copy it again.",
            ) from error

    def _open(self, file: Path) -> FileIO:
        if file not in self._files:
            if len(self._files) >= _OPEN_FILES:
                self._files.clear()
                self._stack.close()
            self._files[file] = self._stack.enter_context(FileIO(file, "r"))
        return self._files[file]


def _check_finite(numbers: Tensor, stored: Tensor, name: str) -> None:
    """Raise SeedbedError if one of the numbers, read from `stored`, is NaN or infinite.

    Usually costs one sum over memory that has just been written. NaN and infinity are never lost in a sum.
    """
    if torch.isfinite(numbers.sum()) or numbers.isfinite().all():  # a sum of large numbers may be infinite, too
        return
    if stored.isfinite().all():
        raise SeedbedError(
            f"The tensor {quoted(name)} in the weights has numbers that are too large for {numbers.dtype}.",
            "Use another precision, such as fp32 or bf16.",
        )
    raise SeedbedError(
        f"The tensor {quoted(name)} in the weights has NaN or infinite numbers.",
        "The weights are damaged, or training diverged. Use another copy, or an earlier checkpoint.",
    )
