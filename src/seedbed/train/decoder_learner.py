"""A learner for the decoder, the language model of Seedbed, in which all weights are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from seedbed.checkpoint.marker import CONFIG, GENERATION, MODEL
from seedbed.checkpoint.writing import Content, json_content
from seedbed.config.families.config_json import generation_config, hf_config
from seedbed.model.decoder import Decoder
from seedbed.model.weights import LogicalParameter, export_state, load_state, logical_parameters
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.train.learner import Batch, Description
from seedbed.train.masters import DTYPES, Masters


class DecoderLearner:
    """Trains a decoder. The model's fp32 weights are the masters, which the optimizer updates.

    Below fp32, a working copy of the model computes the forward and backward passes. `files`: the files of a checkpoint
    besides the weights, see `model_files`.
    """

    artifact = MODEL

    def __init__(
        self, model: Decoder, *, precision: str, device: torch.device, files: Mapping[str, Content] | None = None
    ) -> None:
        self.device = device
        self.precision = precision
        self.model: Decoder = model.to(device)
        self.working: Decoder = self.model if precision == "fp32" else _working_copy(self.model, DTYPES[precision])
        self.masters = Masters(_trained(self.model), _trained(self.working), precision=precision)
        self.masters.collect_during_backward()
        self._files = files or {}
        self._loss: Callable[..., Tensor] = self.working.loss
        self.compiled = False

    @property
    def tolerates_overflow(self) -> bool:
        return self.masters.tolerates_overflow

    def compile(self) -> None:
        self._loss = torch.compile(self.working.loss, dynamic=False)
        self.compiled = True

    def eager(self) -> None:
        self._loss = self.working.loss
        self.compiled = False

    def accumulate(self, batch: Batch, divisor: int) -> Tensor:
        arguments = self._here(batch)
        scale = self.masters.loss_scale
        if self.precision == "fp16":
            # A tensor, since torch would compile the loss again for every other Python number.
            arguments["grad_scale"] = torch.full((), scale / divisor, dtype=torch.float32, device=self.device)
        loss = self._loss(**arguments) / divisor
        (loss * scale if scale != 1.0 else loss).backward()
        if self.masters.has_working_copy:
            self.masters.collect()
        return loss.detach()

    def _here(self, batch: Batch) -> dict[str, Tensor | None]:
        """Copy a batch to the device; returns the arguments of `Decoder.loss`."""
        named = {
            "ids_BT": batch.inputs,
            "targets_BT": batch.targets,
            "documents_BT": batch.documents,
            "positions_BT": batch.positions,
        }
        return {name: None if each is None else each.to(self.device, non_blocking=True) for name, each in named.items()}

    def gradients(self) -> list[Tensor]:
        return self.masters.gradients()

    def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
        return self.masters.finish_step(norm, update)

    def discard(self) -> None:
        self.masters.discard()

    @torch.no_grad()
    def loss_sum(self, batch: Batch) -> Tensor:
        return self.working.loss(**self._here(batch))  # type: ignore[arg-type]

    def trainable(self) -> Sequence[LogicalParameter]:
        return logical_parameters(self.model)

    def weights(self) -> dict[str, Tensor]:
        return export_state(self.model)

    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        load_state(self.model, tensors)
        self.masters.update_working()

    def state(self) -> dict[str, Any]:
        return self.masters.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.masters.load_state(state)

    def files(self) -> Mapping[str, Content]:
        return self._files

    def describe(self) -> Description:
        parameters = sum(p.numel() for p in self.model.parameters())
        return Description(parameters, sum(p.numel() for p in self.masters.masters), self.precision)


@torch.no_grad()
def _working_copy(model: Decoder, dtype: torch.dtype) -> Decoder:
    """A copy of the model in a lower precision. Copies one tensor at a time: a large model has no second copy in fp32."""
    with torch.device("meta"):
        working = Decoder(model.config, model.vocab_rows)
    working = working.allocated(model.embed.weight.device, dtype)
    for mine, its in zip(working.parameters(), model.parameters(), strict=True):
        mine.copy_(its)
        mine.requires_grad_(its.requires_grad)
    return working.train(model.training)


def _trained(model: Decoder) -> list[Tensor]:
    return [p for p in model.parameters() if p.requires_grad]


def model_files(model: Decoder, tokenizer: Tokenizer) -> dict[str, Content]:
    """The config and tokenizer files that other programs need to load a decoder's weights."""
    tokens = tokenizer.as_files(model_max_length=model.config.context)
    return {
        CONFIG: json_content(hf_config(model.config, model.vocab_rows, tokenizer)),
        GENERATION: json_content(generation_config(tokenizer)),
        **{name: [content] for name, content in tokens.items()},
    }
