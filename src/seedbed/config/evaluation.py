"""The config of an evaluation: the models, the text, and how it is cut into windows."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from seedbed.config.schema import DEVICE, DataConfig, Table
from seedbed.errors import UsageError

NO_LIMIT = {"if_unset": "no limit", "was_unset": 0}
"""What limits declare about their fields: without a value there is no limit, for which earlier versions wrote 0."""
LONGEST_WINDOW = 2048
"""The most tokens in a window if evaluate.context is not set: longer windows take much more memory and time."""


class EvaluateConfig(Table, frozen=True, kw_only=True):
    """The table `evaluate`: which models are evaluated, on which part of the text, and how."""

    models: Annotated[
        tuple[str, ...], Meta(description="Model folders; the command line also takes runs and their checkpoints.")
    ] = ()
    names: Annotated[tuple[str, ...], Meta(description="Names of the models in the results, in the same order.")] = ()
    split: Annotated[
        Literal["auto", "validation", "train", "all"],
        Meta(
            description="Part of the text. auto: the validation text; all of a text:PATH that has none of its own and on "
            "which none of the models was trained."
        ),
    ] = "auto"
    context: Annotated[
        Annotated[int, Meta(ge=2, le=100_000_000)] | None,
        Meta(
            description=f"Most tokens in a window; by default each model's context, at most {LONGEST_WINDOW}.",
            extra={"if_unset": f"the model's own context, at most {LONGEST_WINDOW}"},
        ),
    ] = None
    stride: Annotated[
        Annotated[int, Meta(ge=1, le=100_000_000)] | None,
        Meta(
            description="New tokens in each further window of a long document; the rest of the window is repeated as "
            "context. By default half a window.",
            extra={"if_unset": "half a window"},
        ),
    ] = None
    limit_documents: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Evaluate a random sample of this many documents. Leave it out for no limit.",
            extra=NO_LIMIT,
        ),
    ] = None
    limit_tokens: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Evaluate a random sample of documents of about this many tokens of the first model. Leave it out "
            "for no limit.",
            extra=NO_LIMIT,
        ),
    ] = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Seed of the sample and of the intervals.")] = 1337
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], Meta(description="Precision of weights and computation; fp16 only on GPUs.")
    ] = "fp32"
    device: Annotated[
        str, Meta(description="auto, cpu, gpu, cuda, cuda:N, mps, or part of a GPU's name such as A30.", extra=DEVICE)
    ] = "auto"
    threads: Annotated[
        int, Meta(ge=0, le=4096, description="CPU threads; 0: as PyTorch chooses, at most the usable cores.")
    ] = 0
    batch_tokens: Annotated[
        int,
        Meta(
            ge=0,
            le=2**40,
            description="Most tokens in one forward pass; 0: 2,048 on a CPU, 32,768 on a GPU. Halved if memory is full.",
        ),
    ] = 0


class Evaluation(Table, frozen=True, kw_only=True):
    """The config of an evaluation, with all its tables."""

    data: DataConfig = DataConfig()
    evaluate: EvaluateConfig = EvaluateConfig()


def settled_split(
    asked: EvaluateConfig, data: DataConfig, *, was_trained_on: bool
) -> Literal["validation", "train", "all"]:
    """The part of the text that is evaluated. `was_trained_on`: whether one of the models was trained on this source.

    A text:PATH without a validation set of its own is evaluated whole, unless a model was trained on it: such a model has
    seen all documents but the held-out ones. Every other source has validation text.
    """
    if asked.split != "auto":
        return asked.split
    without_own = data.source.startswith("text:") and not data.validation_path
    return "all" if without_own and not was_trained_on else "validation"


def window_of(asked: EvaluateConfig, longest: int, name: str) -> tuple[int, int]:
    """The tokens in a window and its stride, for the model `name` with a context of `longest` tokens.

    Raises UsageError for windows that are longer than the context, and for a stride that is longer than the windows.
    """
    context = asked.context or min(longest, LONGEST_WINDOW)
    if context > longest:
        raise UsageError(
            f"The context of {name} is {longest:,} tokens, so windows of {context:,} tokens are impossible.",
            f"Use --context {longest} or less.",
        )
    stride = asked.stride or max(context // 2, 1)
    if stride > context:
        raise UsageError(
            f"The stride of {stride:,} tokens is longer than the windows of {name}, which have {context:,} tokens.",
            f"Use --stride {context} or less.",
        )
    return context, stride
