"""What a training on from a model (`base.model`) takes over: weights, config.json, tokenizer and chat template.

A new run takes all of it from the base's folder. A resumed run takes it from its checkpoint, which has the same files, so
the base may be gone by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from seedbed.checkpoint.fingerprint import weights_fingerprint
from seedbed.checkpoint.marker import CONFIG, GENERATION, verify_weights
from seedbed.checkpoint.writing import Content, json_content
from seedbed.config.families.config_json import config_from_hf, read_config_json, updated_config
from seedbed.config.schema import BaseConfig, Config
from seedbed.data.building import Base
from seedbed.errors import SeedbedError
from seedbed.files import explained
from seedbed.jobs.restore import Start
from seedbed.model.decoder import Decoder
from seedbed.model.generate import Sampling, text_stream
from seedbed.model.load import load_folder
from seedbed.text import quoted
from seedbed.tokenizer.chat_template import ChatTemplate
from seedbed.tokenizer.tokenizer import Tokenizer


class Origin(NamedTuple):
    """The folder from which a session takes the model: the base of a new run, or the checkpoint of a resumed one."""

    folder: Path
    tokenizer: Tokenizer
    template: ChatTemplate | None
    template_error: SeedbedError | None = None
    """Why the chat template cannot be read. The model can be trained all the same, but its samples fail."""

    def for_data(self) -> Base:
        """What the preparation of data takes from the model."""
        return Base(self.tokenizer, self.template.source() if self.template is not None else None)

    def decoder(self, device: torch.device) -> Decoder:
        """The model in fp32 on a device. A resume restores the weights later; until then, a trial step needs usable ones."""
        return load_folder(self.folder, device=device)

    def files(self) -> dict[str, Content]:
        """The files of a checkpoint besides the weights: the folder's own, byte for byte but for the dtype in config.json."""
        parsed = read_config_json(self.folder)
        shape, _ = config_from_hf(parsed)
        tokens = self.tokenizer.as_files(model_max_length=shape.longest_context)
        copied: dict[str, Content] = {name: [content] for name, content in tokens.items()}
        path = self.folder / GENERATION
        if path.is_file():
            with explained(path):
                copied[GENERATION] = [path.read_bytes()]
        return {CONFIG: json_content(updated_config(parsed, shape)), **copied}

    def text_stream(self, model: Decoder, prompt: str, sampling: Sampling) -> Iterator[str]:
        """Yield a sample piece by piece: an answer to the prompt if the model has a chat template, else its continuation.

        Raises SeedbedError if the chat template cannot be used.
        """
        if self.template_error is not None:
            raise self.template_error
        if self.template is None:
            return text_stream(model, self.tokenizer, prompt, sampling)
        ids = self.template.encode(self.tokenizer, [{"role": "user", "content": prompt}])
        return text_stream(model, self.tokenizer, ids, sampling)


def origin_of(config: Config, start: Start) -> Origin | None:
    """Where a session takes the model from; None for a training from scratch.

    Raises SeedbedError if a new run's base is missing or has changed since the run was created.
    """
    if config.base.model is None:
        return None
    folder = start.loaded.path if start.loaded is not None else _base_folder(config.base)
    tokenizer = Tokenizer.of_model(folder)
    try:
        return Origin(folder, tokenizer, ChatTemplate.of(folder))
    except SeedbedError as error:
        return Origin(folder, tokenizer, None, error)


def _base_folder(base: BaseConfig) -> Path:
    folder = Path(base.folder or base.model or "")
    if not folder.is_dir():
        raise SeedbedError(
            f"The model from which this run starts is gone: there is no folder {quoted(folder)} ({base.model}).",
            "Put it back there, or start a new run from another copy with --from. A run that has saved a checkpoint no longer "
            "needs its base.",
        )
    if base.fingerprint is not None and weights_fingerprint(folder) != base.fingerprint:
        raise SeedbedError(
            f"The weights in {quoted(folder)} have changed since this run was created.",
            "Restore them, or start a new run from these weights with `seedbed train --from`.",
        )
    verify_weights(folder)
    return folder
