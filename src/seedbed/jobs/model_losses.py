"""Computes the losses of one model on the text of an evaluation, group by group, and keeps what is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial

import numpy as np
import torch

from seedbed.checkpoint.marker import verify_weights
from seedbed.config.evaluation import EvaluateConfig, window_of
from seedbed.errors import SeedbedError, StorageError
from seedbed.evaluation.corpus import Text
from seedbed.evaluation.encoding import Encoded, encode_documents, prefix_of
from seedbed.evaluation.identity import MeasuredFolder
from seedbed.evaluation.progress import ModelFacts, ModelProgress, Tally
from seedbed.evaluation.row_encoder import RowEncoder
from seedbed.evaluation.windows import IGNORED, Batch, Window, batches, longest_first, windows_of
from seedbed.events import Emit, Message
from seedbed.jobs.memory import exhausted
from seedbed.model.cross_entropy import token_cross_entropy
from seedbed.model.decoder import Decoder
from seedbed.model.load import load_folder
from seedbed.runs.lifecycle import StopRequested
from seedbed.text import printable, quoted, shorten
from seedbed.train.device import Device
from seedbed.train.masters import DTYPES

GROUP_CHARACTERS = 1 << 20
"""Documents of about this many characters are encoded, sorted by length and scored together, which bounds the memory."""
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 1 << 11, 1 << 15
SAVE_EVERY_S = 5.0
"""Seconds between two saves of what is done of a group; after a kill, at most this much is computed again."""

Keep = Callable[[Callable[[], None]], None]
"""A function that calls its argument, which writes a file; if the disk is full, it waits and calls it again."""
Report = Callable[[float], None]
"""A function that is called with the UTF-8 bytes of the text that are done, at first and after each batch. It may raise
StopRequested."""


class ModelLosses:
    """A loaded model that is evaluated. `report`, `keep`: see Report and Keep."""

    def __init__(
        self, folder: MeasuredFolder, asked: EvaluateConfig, device: Device, emit: Emit, report: Report, keep: Keep
    ) -> None:
        """Load the model. Raises SeedbedError if that fails or the folder changes meanwhile, or for too long a context."""
        verify_weights(folder.path)
        self._name, self._folder, self._asked, self._device = folder.name, folder, asked, device
        self._emit, self._report, self._keep = emit, report, keep
        self._tokenizer = folder.tokenizer
        self._prefix = prefix_of(self._tokenizer)
        self._model = load_folder(folder.path, device=device.torch_device, dtype=DTYPES[asked.precision])
        folder.refuse_change()
        self._context, self._stride = window_of(asked, self._model.config.longest_context, self._name)
        usual = CPU_BATCH_TOKENS if device.kind == "cpu" else GPU_BATCH_TOKENS
        self._batch_tokens = asked.batch_tokens or usual
        self._next_save_s = 0.0

    def facts(self) -> ModelFacts:
        """Facts about the model and how it is evaluated."""
        return ModelFacts(
            name=self._name,
            path=str(self._folder.path),
            family=str(self._folder.config.get("model_type")),
            parameters=sum(each.numel() for each in self._model.parameters()),
            vocabulary=self._tokenizer.vocab_size,
            context=self._context,
            stride=self._stride,
            prefix=self._prefix,
            weights=self._folder.identity.weights,
            tokenizer=self._folder.identity.tokenizer,
            precision=self._asked.precision,
            device=str(self._device.torch_device),
        )

    def score(self, documents: Iterable[str], text: Text, progress: ModelProgress) -> None:
        """Score the documents that `progress` lacks, and add their sums to it.

        Raises SeedbedError if a loss is not a number, for an id without a row in the embedding, if memory is full for a
        single window, and if the folder has another model between two groups. If `report` raises StopRequested, what is
        done is saved first.
        """
        rows = RowEncoder(self._tokenizer, text.rows, self._context) if text.rows is not None else None
        try:
            self._score_all(documents, text, progress, rows)
        finally:
            if rows is not None:
                rows.close()
        if rows is not None and not progress.scores().tokens.sum():
            raise rows.nothing(self._name)

    def _score_all(
        self, documents: Iterable[str], text: Text, progress: ModelProgress, rows: RowEncoder | None
    ) -> None:
        before, first = 0, 0
        for number, texts in enumerate(_groups(documents)):
            size_bytes = sum(len(each.encode()) for each in texts)
            if number >= progress.finished_groups:
                self._folder.refuse_change()
                encoded = (
                    encode_documents(texts, self._tokenizer, self._prefix, text.block_characters)
                    if rows is None
                    else rows.encode(texts)
                )
                self._refuse_unknown_ids(encoded)
                tally = progress.resumed(len(encoded.unit_bytes))
                share = _Share(before, size_bytes, self._report)
                try:
                    self._score_group(encoded, tally, share, progress, texts, first)
                except StopRequested:
                    with suppress(StorageError):  # else a resume repeats the last seconds
                        progress.save_partial(tally)
                    raise
                self._keep(partial(progress.finish_group, tally, encoded.unit_bytes))
            before, first = before + size_bytes, first + len(texts)

    def _score_group(
        self, encoded: Encoded, tally: Tally, share: _Share, progress: ModelProgress, texts: list[str], first: int
    ) -> None:
        """Score the windows of a group that `tally` lacks. `first`: the number of the group's first document."""
        windows = longest_first(list(self._windows(encoded)))
        share.total = sum(window.length for window in windows)
        share.done = sum(window.length for window in windows[: tally.windows])
        share.report()
        while tally.windows < len(windows):
            for count, batch in batches(windows[tally.windows :], encoded.ids, self._batch_tokens, encoded.scored):
                begun = time.monotonic()
                losses = self._losses(batch)
                if losses is None:
                    break  # memory was full: make smaller batches of the windows that are left
                if not np.isfinite(losses).all():
                    bad = encoded.units[batch.places[~np.isfinite(losses)][0]]
                    raise self._not_a_number(first + int(encoded.documents[bad]), texts[encoded.documents[bad]])
                share.done += sum(window.length for window in windows[tally.windows : tally.windows + count])
                tally.add(encoded.units[batch.places], losses, count, time.monotonic() - begun)
                if time.monotonic() >= self._next_save_s:
                    self._next_save_s = time.monotonic() + SAVE_EVERY_S
                    self._keep(partial(progress.save_partial, tally))
                share.report()

    def _windows(self, encoded: Encoded) -> Iterator[Window]:
        first = len(self._prefix) - 1 if encoded.scored is None else 0
        for begin, end in zip(encoded.begins, encoded.begins[1:], strict=False):
            yield from windows_of(begin, end - begin, first, self._context, self._stride)

    def _losses(self, batch: Batch) -> np.ndarray | None:
        """The losses of a batch's scored targets in nats, float64, row by row; None if memory was full.

        Then the next batches are half as large. Raises SeedbedError if the batch has a single window.
        """
        try:
            return token_losses(self._model, batch, self._device.torch_device)
        except (RuntimeError, MemoryError) as error:
            memory = exhausted(error)
            if memory is None:
                raise
            rows, length = batch.inputs.shape
        if self._device.kind == "cuda":
            torch.cuda.empty_cache()
        if rows == 1:
            raise SeedbedError(
                f"The {memory} is full: {self._name} needs more for a window of {length:,} tokens.",
                f"Use shorter windows: start a new evaluation with --context {max(length // 2, 2)}. Or close other "
                "programs that use the memory, and resume this one.",
            )
        self._batch_tokens = rows // 2 * length
        self._emit(
            Message(
                level="info",
                code="smaller-batches",
                text=f"The {memory} is full; the batches of {self._name} now have at most {self._batch_tokens:,} tokens.",
                why="The results stay the same.",
            )
        )
        return None

    def _refuse_unknown_ids(self, encoded: Encoded) -> None:
        highest = int(encoded.ids.max(initial=0))
        if highest >= self._model.vocab_rows:
            raise SeedbedError(
                f"The tokenizer of {self._name} gives the id {highest:,}, but the embedding of the model has only "
                f"{self._model.vocab_rows:,} rows.",
                "The tokenizer belongs to another model. Copy the files of the model again.",
            )

    def _not_a_number(self, document: int, text: str) -> SeedbedError:
        fp32 = self._asked.precision == "fp32"
        return SeedbedError(
            f"The loss of {self._name} is not a number in document {document + 1:,}, which begins with "
            f"{quoted(shorten(printable(text), 40))}.",
            "The weights are invalid, probably because training diverged. Evaluate another checkpoint."
            if fp32
            else "Evaluate with --precision fp32. If it happens there, too, the weights are invalid.",
        )


class _Share:
    """Reports the bytes of a text that are done: `before` it, and of `size_bytes` the share `done / total`."""

    def __init__(self, before: int, size_bytes: int, report: Report) -> None:
        self._before, self._size_bytes, self._report = before, size_bytes, report
        self.done, self.total = 0, 0

    def report(self) -> None:
        self._report(self._before + self._size_bytes * self.done / max(self.total, 1))


@torch.inference_mode()
def token_losses(model: Decoder, batch: Batch, device: torch.device) -> np.ndarray:
    """The losses of the scored targets of a batch, row by row, in nats (float64). The logits are computed in slices."""
    inputs, targets = torch.from_numpy(batch.inputs).to(device), torch.from_numpy(batch.targets).to(device)
    scored = targets != IGNORED
    x_BTC = model.hidden_states(inputs, None, None, None)
    losses = token_cross_entropy(x_BTC[scored], model.output_weight, targets[scored])
    found: np.ndarray = losses.cpu().double().numpy()
    return found


def _groups(documents: Iterable[str]) -> Iterator[list[str]]:
    """Group documents until a group has GROUP_CHARACTERS."""
    group: list[str] = []
    characters = 0
    for document in documents:
        group.append(document)
        characters += len(document)
        if characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group
