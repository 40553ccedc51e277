"""Assign parameters to AdamW or Muon, and export the optimizer state under Hugging Face names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from seedbed.config.schema import OptimizerConfig
from seedbed.errors import SeedbedError
from seedbed.optim.adamw import AdamW, ParameterGroup
from seedbed.optim.muon import Muon, Slice
from seedbed.optim.newton_schulz import fast_dtype


class LogicalParameter(Protocol):
    """One matrix or vector of the model: its unique Hugging Face name, and the parameter that contains it (a Protocol)."""

    @property
    def name(self) -> str: ...
    @property
    def parameter(self) -> Tensor: ...
    @property
    def rows(self) -> slice | None:
        """The rows of `parameter` that are this matrix if `parameter` combines several (such as q, k, v), else None."""
        ...

    @property
    def role(self) -> str:
        """What it is used as: matrix, embedding, head or vector. Decides which optimizer updates it."""
        ...

    @property
    def transposed(self) -> bool:
        """Whether the Hugging Face file stores the transpose of this matrix."""
        ...


class Optimizer:
    """AdamW for all parameters, or Muon for matrices and AdamW for the rest. Weights and `.grad` are fp32."""

    def __init__(
        self, parameters: Sequence[LogicalParameter], lr: float, muon: Muon | None, adamw: AdamW | None
    ) -> None:
        self._parameters = list(parameters)
        self._lr = lr
        self._muon, self._adamw = muon, adamw
        self.step_count = 0

    def lr(self, scale: float) -> float:
        """The learning rate of matrices when the schedule multiplies all learning rates by `scale`."""
        return self._lr * scale

    def step(self, scale: float) -> None:
        """Update every parameter, with all learning rates times `scale`. Every parameter must have a gradient."""
        missing = [each.name for each in self._parameters if each.parameter.grad is None]
        if missing:
            raise SeedbedError(
                f"{len(missing)} parameters have no gradient, for example {missing[0]}.",
                "Pass only trained parameters to the optimizer.",
            )
        if self._muon is not None:
            self._muon.step(scale)
        if self._adamw is not None:
            self._adamw.step(scale)
        self.step_count += 1

    def zero_grad(self) -> None:
        """Remove the gradients of all parameters before the next step."""
        for each in self._parameters:
            each.parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """The moments by name, `<Hugging Face name>.<moment>`: fp32 views in Hugging Face's orientation.

        Copy them before the next step.
        """
        moments: dict[tuple[int, int], list[tuple[str, Tensor]]] = {}
        for rule in (self._muon, self._adamw):
            for part, moment, view in rule.moments() if rule is not None else []:
                moments.setdefault(_place(part.parameter, part.rows), []).append((moment, view))
        return {
            f"{each.name}.{moment}": view.mT if each.transposed and view.ndim == 2 else view
            for each in self._parameters
            for moment, view in moments[_place(each.parameter, each.rows)]
        }

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Load moments that `state` returned after `step` steps.

        If a tensor is missing, unexpected or of another shape or dtype, raises SeedbedError and changes nothing.
        """
        held = self.state()
        complaints = [
            _listed("missing", [key for key in held if key not in tensors]),
            _listed("unexpected", [key for key in tensors if key not in held]),
            _listed(
                "wrong shape or dtype:",
                [
                    f"{key} ({_form(tensors[key])}, not {_form(view)})"
                    for key, view in held.items()
                    if key in tensors and (tensors[key].shape != view.shape or tensors[key].dtype != view.dtype)
                ],
            ),
        ]
        if any(complaints):
            raise SeedbedError(
                f"The saved optimizer state does not fit this run's model: {'; '.join(filter(None, complaints))}.",
                "Resume with the run's own model and optimizer, or start a new run.",
            )
        for key, view in held.items():
            view.copy_(tensors[key])
        if self._adamw is not None:
            self._adamw.set_step(step)
        self.step_count = step


def _place(parameter: Tensor, rows: slice | None) -> tuple[int, int]:
    return id(parameter), 0 if rows is None else int(rows.start or 0)


def _form(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape))} {str(tensor.dtype).removeprefix('torch.')}"


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what} {', '.join(names[:3])}{more}"


def build_optimizer(
    parameters: Sequence[LogicalParameter], config: OptimizerConfig, *, ns_dtype: torch.dtype | None = None
) -> Optimizer:
    """Build the configured optimizer for the matrices and vectors of a model.

    muon: matrices by Muon at `lr`; an untied head by AdamW at `head_lr` (0: `adam_lr`); embeddings and vectors by AdamW
    at `adam_lr`. adamw: everything at `lr`. Weight decay is decoupled and applies to matrices only. `ns_dtype` overrides
    the dtype of Muon's iteration, by default `fast_dtype` of the device. Call this after moving the model to its device.
    """
    muon: Muon | None = None
    rest = list(parameters)
    if config.name == "muon":
        matrices = [Slice(each.parameter, each.rows) for each in parameters if each.role == "matrix"]
        rest = [each for each in parameters if each.role != "matrix"]
        if matrices:
            muon = Muon(
                matrices,
                lr=config.lr,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                steps=config.ns_steps,
                dtype=ns_dtype or fast_dtype(matrices[0].parameter.device),
            )
    grouped: dict[tuple[float, float], list[Slice]] = {}
    for each in rest:
        lr = config.lr
        if config.name == "muon":
            lr = config.head_lr or config.adam_lr if each.role == "head" else config.adam_lr
        decay = config.weight_decay if each.role == "matrix" else 0.0
        grouped.setdefault((lr, decay), []).append(Slice(each.parameter, each.rows))
    groups = [ParameterGroup(slices, lr, decay) for (lr, decay), slices in grouped.items()]
    adamw = AdamW(groups, beta1=config.beta1, beta2=config.beta2, eps=config.eps) if groups else None
    return Optimizer(parameters, config.lr, muon, adamw)
