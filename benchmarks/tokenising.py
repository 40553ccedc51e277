"""Tokenising: text to shards with Seedbed against the same tokenizer in the library `tokenizers`, on the same cores.

The text is prose (the test data) or code (Python's standard library) over and over, with a share of its rarer words changed in
each round, so that the number of distinct words grows as it does in real text of that size (it is printed). All read the same
jsonl file of documents. Seedbed's time is all of it: hashing the file, choosing validation documents, tokenising, writing and
hashing shards. The peers are `encode_batch` and `encode_batch_fast` with all threads, whose time is that of encoding and of
taking the ids, and `datasets.map`, with one process and with one per core. All are repeated in turn, and the best of each
counts. The ids must be equal.

    python benchmarks/tokenising.py --megabytes 40 --text code
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

GOAL = 1.5
_WORD = re.compile(r"[a-z]{4,}")
_COMMON_WORDS = 2000
_CHANGED = 0.3
_BATCH = 1000


def varied(text: str, size_bytes: int) -> Iterator[str]:
    """Documents of some 2,000 characters, `size_bytes` of them in all."""
    rng = random.Random(0)
    common = {word for word, _ in Counter(_WORD.findall(text)).most_common(_COMMON_WORDS)}

    def change(match: re.Match[str]) -> str:
        word = match.group()
        if word in common or rng.random() > _CHANGED:
            return word
        place = rng.randrange(1, len(word))
        return word[:place] + rng.choice("aeioulnrst") + word[place + 1 :]

    paragraphs, done = re.split(r"(?<=\n)(?=\S)", text), 0
    while done < size_bytes:
        document = ""
        for paragraph in paragraphs:
            document += _WORD.sub(change, paragraph)
            if len(document) > 2000:
                yield document
                done, document = done + len(document.encode()), ""
            if done >= size_bytes:
                return


def by_seedbed(path: Path, tokenizer: Path, cores: int) -> tuple[float, Any]:
    """Seconds, and the dataset."""
    from seedbed.config.schema import DataConfig, TokenizerConfig
    from seedbed.data.build import build_dataset

    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        data, reused = DataConfig(source=f"text:{path}", workers=cores), TokenizerConfig(path=str(tokenizer))
        begun = time.perf_counter()
        dataset = build_dataset(data, reused, cache=Path(cache), emit=lambda _: None)
        elapsed_s = time.perf_counter() - begun
        ids = [split.read(0, split.num_tokens) for split in (dataset.train, dataset.validation)]
        return elapsed_s, ids


def by_map(path: Path, tokenizer: Path, processes: int | None) -> tuple[float, Any]:
    """Seconds, and the mapped dataset."""
    import datasets
    import tokenizers

    datasets.disable_progress_bars()
    encoder = tokenizers.Tokenizer.from_file(str(tokenizer / "tokenizer.json"))

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        found = encoder.encode_batch_fast(batch["text"], add_special_tokens=False)
        return {"ids": [encoding.ids for encoding in found]}

    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        rows = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache)
        begun = time.perf_counter()
        mapped = rows.map(encode, batched=True, remove_columns=["text"], num_proc=processes, load_from_cache_file=False)
        return time.perf_counter() - begun, sum(map(len, mapped["ids"]))


def by_encode_batch(path: Path, tokenizer: Path, *, fast: bool) -> tuple[float, Any]:
    """Seconds, and the number of ids."""
    import numpy as np
    import tokenizers

    encoder = tokenizers.Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    encode = encoder.encode_batch_fast if fast else encoder.encode_batch
    documents = [json.loads(line)["text"] for line in path.open(encoding="utf-8")]
    count, begun = 0, time.perf_counter()
    for first in range(0, len(documents), _BATCH):
        for encoding in encode(documents[first : first + _BATCH], add_special_tokens=False):
            count += len(np.array(encoding.ids, dtype=np.uint16))
    return time.perf_counter() - begun, count


def source_text(kind: str) -> str:
    """The text of which documents are made."""
    if kind == "code":
        files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
        return "".join(path.read_text("utf-8", errors="replace") for path in files)
    place = Path(os.environ["SEEDBED_TEST_DATA"])
    return "".join((place / name).read_text("utf-8") for name in ("wikitext-2/valid.txt", "tinyshakespeare.txt"))


def train(path: Path, folder: Path, vocab_size: int, split: str) -> None:
    """A tokenizer of the first 10 MB."""
    from seedbed.config.schema import TokenizerConfig
    from seedbed.tokenizer.train import train_tokenizer

    texts = (json.loads(line)["text"] for line in path.open(encoding="utf-8"))
    config = TokenizerConfig(vocab_size=vocab_size, split=split, sample_bytes=10_000_000)  # type: ignore[arg-type]
    train_tokenizer(texts, config, lambda _: None).save(folder)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = source_text(options.text)
    path, tokenizer = folder / "text.jsonl", folder / "tokenizer"
    words: set[str] = set()
    size_bytes = 0
    with path.open("w", encoding="utf-8") as handle:
        for document in varied(text, int(options.megabytes * 1e6)):
            handle.write(json.dumps({"text": document}) + "\n")
            words.update(document.split())
            size_bytes += len(document.encode())
    train(path, tokenizer, options.vocab_size, options.split)
    ways: dict[str, Callable[[], tuple[float, Any]]] = {
        "seedbed": lambda: by_seedbed(path, tokenizer, cores),
        "encode_batch": lambda: by_encode_batch(path, tokenizer, fast=False),
        "encode_batch_fast": lambda: by_encode_batch(path, tokenizer, fast=True),
        "datasets.map, one process": lambda: by_map(path, tokenizer, None),
        f"datasets.map, {cores} processes": lambda: by_map(path, tokenizer, cores),
    }
    best: dict[str, float] = {}
    results: dict[str, Any] = {}
    for _ in range(options.repeats):
        for name, way in ways.items():
            elapsed_s, results[name] = way()
            best[name] = min(best.get(name, elapsed_s), elapsed_s)
    equal = same_ids(path, tokenizer, results["seedbed"])
    speeds = {name: size_bytes / 1e6 / elapsed_s for name, elapsed_s in best.items()}
    ratio = speeds["seedbed"] / max(speed for name, speed in speeds.items() if name != "seedbed")
    return {
        "text": options.text,
        "size_bytes": size_bytes,
        "distinct_words": len(words),
        "cores": cores,
        "vocab_size": options.vocab_size,
        "megabytes_per_s": speeds,
        "ratio": ratio,
        "ids_equal": equal,
        "met": equal and ratio >= GOAL,
    }


def same_ids(path: Path, tokenizer: Path, splits: Any) -> bool:
    """Whether the shards hold the library's ids of every document, in the file's order within each split."""
    import numpy as np
    import tokenizers

    library = tokenizers.Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    documents = [json.loads(line)["text"] for line in path.open(encoding="utf-8")]
    encodings = library.encode_batch_fast(documents, add_special_tokens=False)
    end = library.token_to_id("<|endoftext|>")
    expected = Counter(np.array(encoding.ids, dtype=np.int64).tobytes() for encoding in encodings)
    found: Counter[bytes] = Counter()
    for ids in splits:
        borders = np.flatnonzero(ids == end)
        found.update(
            part.tobytes() for part in (piece[piece != end] for piece in np.split(ids, borders + 1)) if part.size
        )
    return found == expected


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=40.0)
    parser.add_argument("--text", choices=["prose", "code"], default="prose")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--split", choices=["qwen2", "gpt-2"], default="qwen2")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.text == "prose" and not os.environ.get("SEEDBED_TEST_DATA"):
        sys.exit("Set SEEDBED_TEST_DATA to a folder with tinyshakespeare.txt and wikitext-2/valid.txt.")
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options, Path(folder))
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"{result['text']}, {result['size_bytes'] / 1e6:.1f} MB, {result['distinct_words']:,} distinct words,"
        f" vocabulary {result['vocab_size']:,}, {result['cores']} cores"
    )
    for name, speed in result["megabytes_per_s"].items():
        print(f"{name:32}{speed:8.2f} MB/s")
    print(f"ratio to the better: {result['ratio']:.2f} (goal {GOAL}); ids equal: {result['ids_equal']}")


if __name__ == "__main__":
    main()
