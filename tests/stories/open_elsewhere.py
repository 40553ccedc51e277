"""What the installed transformers reads from model folders. `{"folders", "prompts", "new_tokens"}` on stdin, JSON on stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline


def opened(folder: str, prompts: list[str], new_tokens: int) -> dict[str, Any]:
    """Logits of each prompt, and its greedy continuation: alone, in a padded batch, and through a pipeline."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    write = pipeline("text-generation", model=folder)
    greedy = {"max_new_tokens": new_tokens, "do_sample": False}
    logits, ids, alone, piped = [], [], [], []
    with torch.no_grad():
        for prompt in prompts:
            encoded = tokenizer(prompt, return_tensors="pt")
            ids.append(encoded["input_ids"][0].tolist())
            logits.append(model(**encoded).logits[0].tolist())
            alone.append(model.generate(**encoded, **greedy)[0, len(ids[-1]) :].tolist())
            piped.append(write(prompt, return_full_text=False, **greedy)[0]["generated_text"])
        batch = tokenizer(prompts, return_tensors="pt", padding=True)
        batched = model.generate(**batch, **greedy)[:, batch["input_ids"].shape[1] :].tolist()
    return {
        "version": transformers.__version__,
        "longest": tokenizer.model_max_length,
        "ids": ids,
        "logits": logits,
        "alone": alone,
        "batched": batched,
        "piped": piped,
    }


if __name__ == "__main__":
    request = json.load(sys.stdin)
    found = [opened(folder, request["prompts"], request["new_tokens"]) for folder in request["folders"]]
    json.dump(found, sys.stdout)
