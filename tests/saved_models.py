"""Checkpoints that tests write without training."""

from __future__ import annotations

from pathlib import Path

from seedbed.checkpoint.marker import OPTIMIZER, TRAINER, WEIGHTS
from seedbed.checkpoint.tensors import encoded, take
from seedbed.checkpoint.writing import Snapshot, json_content, save
from seedbed.model.decoder import Decoder
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.train.decoder_learner import DecoderLearner, model_files


def save_model(folder: Path, model: Decoder, tokenizer: Tokenizer, step: int = 1) -> Path:
    """Save a checkpoint with a model's current weights in `folder`; returns the checkpoint's folder."""
    learner = DecoderLearner(model, precision="fp32", device=model.embed.weight.device)
    files = {WEIGHTS: encoded(take(learner.weights())), OPTIMIZER: encoded({}), TRAINER: json_content({})}
    return save(folder, Snapshot(step, {**files, **model_files(model, tokenizer)})).path
