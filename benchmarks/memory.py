"""Peak memory of training, above what the imports occupy: our step against the plain loops of throughput_peer.py.

The shape is throughput.toml's; bf16 is left out where the CPU is not fast at it.
Ours runs as the job runs it: learner, optimizer, a batch, with the allocator told to keep
what is freed. Each case in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from throughput_peer import forget_peak, peak_bytes, resident_bytes, sensible_modes

HERE = Path(__file__).resolve().parent
PRECISIONS = ("fp32", "bf16")


def ours(precision: str, steps: int) -> int:
    """Bytes above the imports at the fullest moment of `steps` training steps in this process."""
    import torch

    from seedbed.config import arithmetic
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import TRAIN
    from seedbed.data.batches import Batch
    from seedbed.model.decoder import Decoder
    from seedbed.optim.optimizer import build_optimizer
    from seedbed.train.decoder_learner import DecoderLearner
    from seedbed.train.device import reuse_freed_memory
    from seedbed.train.step import train_step

    imports = resident_bytes()
    reuse_freed_memory()
    config = resolve(TRAIN, file=HERE / "throughput.toml").config
    model = Decoder(config.model, arithmetic.padded_vocab(config.model, config.tokenizer.vocab_size))
    model.init_weights(torch.Generator())
    learner = DecoderLearner(model, precision=precision, device=torch.device("cpu"))
    optimizer = build_optimizer(learner.trainable(), config.optimizer)
    ids = torch.randint(0, config.tokenizer.vocab_size, (config.train.batch_size, config.model.context + 1))
    batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    train_step(learner, batch, optimizer, 1.0, grad_clip=1.0, micro_batch=0)
    forget_peak()
    for _ in range(steps):
        train_step(learner, batch, optimizer, 1.0, grad_clip=1.0, micro_batch=0)
    return peak_bytes() - imports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--one", choices=PRECISIONS, help="measure ours in this process")
    options = parser.parse_args()
    if options.one:
        print(ours(options.one, options.steps))
        return
    for mode in (each for each in PRECISIONS if each in sensible_modes()):
        words = [sys.executable, __file__, "--one", mode, "--steps", str(options.steps)]
        mine = int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        words = [sys.executable, str(HERE / "throughput_peer.py"), "--mode", mode, "--steps", str(options.steps)]
        told = subprocess.run([*words, "--warmup", "1", "--json"], check=True, capture_output=True, text=True).stdout
        peer = int(json.loads(told.strip().splitlines()[-1])["peak_bytes"])
        print(
            f"{mode}: seedbed {mine / 2**20:,.0f} MiB, transformers {peer / 2**20:,.0f} MiB, ratio {mine / peer:.2f}"
            " (goal 1)"
        )


if __name__ == "__main__":
    main()
