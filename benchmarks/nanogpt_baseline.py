"""The baseline of time to quality: nanoGPT's published CPU recipe for Shakespeare by characters.

A plain PyTorch loop, written from the facts that nanoGPT's README and configuration state; none of its code is here.
Four layers, four heads, width 128, context 64, batch 12, no dropout, fp32, AdamW 1e-3 betas 0.9 and 0.99, weight decay
0.1, warm-up 100, cosine to 1e-4 over 2,000 steps, gradients clipped at 1; losses on 20 batches of each split every 250
steps. Unlike the original it writes no checkpoints, which can only make it faster. At the end it scores the whole
validation text in windows of 64.

    python benchmarks/nanogpt_baseline.py --data tinyshakespeare.txt --json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Shapes: B sequences, T positions, C channels, H heads, D channels of a head, V vocabulary.


class Recipe(NamedTuple):
    """The published settings."""

    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 64
    batch: int = 12
    steps: int = 2000
    warmup: int = 100
    lr: float = 1e-3
    lr_floor: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1
    clip: float = 1.0
    eval_every: int = 250
    eval_batches: int = 20


class Block(nn.Module):
    """Attention and a four-fold GELU layer, each behind a LayerNorm without bias; no linear layer has a bias."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        width = recipe.width
        self.heads = recipe.heads
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x_BTC: Tensor) -> Tensor:
        B, T, C = x_BTC.shape
        q, k, v = self.qkv(self.norm1(x_BTC)).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        mixed_BHTD = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTC = x_BTC + self.attention_out(mixed_BHTD.transpose(1, 2).reshape(B, T, C))
        return x_BTC + self.down(F.gelu(self.up(self.norm2(x_BTC))))


class Baseline(nn.Module):
    """A GPT-2-like decoder with learned positions and the output tied to the embedding."""

    def __init__(self, recipe: Recipe, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, recipe.width)
        self.positions = nn.Embedding(recipe.context, recipe.width)
        self.blocks = nn.ModuleList(Block(recipe) for _ in range(recipe.layers))
        self.norm = nn.LayerNorm(recipe.width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("attention_out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * recipe.layers) if residual else 0.02)

    def loss(self, ids_BT: Tensor, targets_BT: Tensor, reduction: str = "mean") -> Tensor:
        """Cross entropy in nats of the targets."""
        x_BTC = self.embedding(ids_BT) + self.positions.weight[: ids_BT.shape[1]]
        for block in self.blocks:
            x_BTC = block(x_BTC)
        logits_BTV = F.linear(self.norm(x_BTC), self.embedding.weight)
        return F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), reduction=reduction)


def read_characters(path: Path) -> tuple[Tensor, Tensor, int]:
    """Ids of the first nine tenths and of the rest, and the number of distinct characters."""
    text = path.read_text(encoding="utf-8")
    index = {char: number for number, char in enumerate(sorted(set(text)))}
    ids = torch.tensor([index[char] for char in text])
    cut = int(len(text) * 0.9)
    return ids[:cut], ids[cut:], len(index)


def random_batch(ids: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Windows that start anywhere, and the same shifted by one."""
    starts = torch.randint(len(ids) - recipe.context, (recipe.batch,)).tolist()
    inputs = torch.stack([ids[start : start + recipe.context] for start in starts])
    targets = torch.stack([ids[start + 1 : start + 1 + recipe.context] for start in starts])
    return inputs, targets


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to the floor at the last step."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / (recipe.warmup + 1)
    progress = (step - recipe.warmup) / (recipe.steps - recipe.warmup)
    return recipe.lr_floor + 0.5 * (1 + math.cos(math.pi * min(progress, 1))) * (recipe.lr - recipe.lr_floor)


@torch.no_grad()
def sampled_loss(model: Baseline, ids: Tensor, recipe: Recipe) -> float:
    """The mean loss of a few random batches, as the original prints it."""
    return sum(model.loss(*random_batch(ids, recipe)).item() for _ in range(recipe.eval_batches)) / recipe.eval_batches


@torch.no_grad()
def full_loss(model: Baseline, ids: Tensor, context: int, batch: int = 128) -> tuple[float, int]:
    """Mean loss over every token but the first, in windows that do not overlap; and how many tokens that is."""
    total, count = 0.0, 0
    for inputs, targets in _windows(ids, context, batch):
        total += model.loss(inputs, targets, reduction="sum").item()
        count += targets.numel()
    return total / count, count


def _windows(ids: Tensor, context: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    whole = (len(ids) - 1) // context
    inputs = ids[: whole * context].view(whole, context)
    targets = ids[1 : whole * context + 1].view(whole, context)
    yield from zip(inputs.split(batch), targets.split(batch), strict=True)
    if whole * context < len(ids) - 1:
        yield ids[whole * context : -1][None], ids[whole * context + 1 :][None]


def build_optimizer(model: Baseline, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with decay on matrices and embeddings alone."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)


def train(options: argparse.Namespace, recipe: Recipe) -> dict[str, float | int | str | None]:
    """Train, score, and say what it took. Seconds count from the start of the process, imports included."""
    torch.manual_seed(options.seed)
    train_ids, validation_ids, vocab_size = read_characters(options.data)
    model = Baseline(recipe, vocab_size)
    optimizer = build_optimizer(model, recipe)
    looking_s, reached_s = 0.0, None
    started = time.perf_counter()
    for step in range(options.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe)
        if step % recipe.eval_every == 0:
            losses = [sampled_loss(model, ids, recipe) for ids in (train_ids, validation_ids)]
            say(options, f"step {step:5d}  train {losses[0]:.4f}  validation {losses[1]:.4f}  (sampled)")
        if options.look_every and step and step % options.look_every == 0 and reached_s is None:
            before = time.perf_counter()
            loss, _ = full_loss(model, validation_ids, recipe.context)
            looking_s += time.perf_counter() - before
            if loss <= options.target:
                reached_s = process_age_s() - looking_s
        if step == options.steps:
            break
        loss_now = model.loss(*random_batch(train_ids, recipe))
        optimizer.zero_grad(set_to_none=True)
        loss_now.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        loss_now.item()  # the published command prints every step
    trained_s = time.perf_counter() - started - looking_s
    loss, scored = full_loss(model, validation_ids, recipe.context)
    return {
        "what": "nanogpt-recipe",
        "seconds": process_age_s() - looking_s,
        "train_s": trained_s,
        "steps": options.steps,
        "tokens": options.steps * recipe.batch * recipe.context,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "loss": loss,
        "scored_tokens": scored,
        "target": options.target,
        "target_reached_s": reached_s,
        "seed": options.seed,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def process_age_s() -> float:
    """Seconds since this process was started."""
    return time.time() - psutil.Process().create_time()


def say(options: argparse.Namespace, line: str) -> None:
    """Progress, where the output is for people."""
    if not options.json:
        print(line, flush=True)


def main() -> None:
    """Parse, train, print."""
    folder = os.environ.get("SEEDBED_TEST_DATA", "")
    parser = argparse.ArgumentParser(description="nanoGPT's CPU recipe as a plain PyTorch script.")
    parser.add_argument("--data", type=Path, default=Path(folder, "tinyshakespeare.txt"), help="the text")
    parser.add_argument("--steps", type=int, default=Recipe().steps, help="stop early, for a check of the script")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves PyTorch's choice")
    parser.add_argument("--look-every", type=int, default=0, help="score all validation text this often (not timed)")
    parser.add_argument("--target", type=float, default=1.88, help="the loss that --look-every waits for")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if not options.data.is_file():
        parser.error(f"there is no text at {options.data}; name it with --data or set SEEDBED_TEST_DATA to its folder")
    if options.threads:
        torch.set_num_threads(options.threads)
    result = train(options, Recipe())
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:18} {value:.4f}" if isinstance(value, float) else f"{name:18} {value}")


if __name__ == "__main__":
    main()
