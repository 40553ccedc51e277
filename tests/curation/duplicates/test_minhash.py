from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import patience
from seedbed.curation.duplicates.minhash import Signatures, signatures
from seedbed.errors import SeedbedError

HAS_RENSA = importlib.util.find_spec("rensa") is not None
needs_rensa = pytest.mark.skipif(not HAS_RENSA, reason="rensa is not installed")
MAKERS = ["numpy", pytest.param("rensa", marks=needs_rensa)]


def pair(similarity: float, size: int, random: np.random.Generator) -> tuple[list[int], list[int], float]:
    """Two sets of `size` numbers and their exact Jaccard similarity."""
    shared = round(2 * size * similarity / (1 + similarity))
    numbers = random.integers(0, 1 << 63, 2 * size - shared).tolist()
    one, other = numbers[:size], numbers[size - shared :]
    return one, other, len({*one} & {*other}) / len({*one} | {*other})


def estimates(make: Signatures, pairs: list[tuple[list[int], list[int], float]]) -> np.ndarray:
    sets = [each for one, other, _ in pairs for each in (one, other)]
    offsets = np.cumsum([0, *map(len, sets)])
    values = make(np.array([number for each in sets for number in each], np.uint64), offsets)
    return np.asarray((values[0::2] == values[1::2]).mean(axis=1))


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("size", [6, 60, 400])
@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8, 0.95])
def test_estimates_scatter_about_the_exact_similarity_as_theory_says(maker: str, size: int, similarity: float) -> None:
    random = np.random.default_rng([size, int(similarity * 100)])
    pairs = [pair(similarity, size, random) for _ in range(300)]
    exact = pairs[0][2]
    found = estimates(signatures(maker), pairs)
    deviation = (exact * (1 - exact) / 128) ** 0.5  # of a binomial share of 128
    assert abs(found.mean() - exact) < 5 * deviation / 300**0.5 + 0.003
    assert found.std() < 1.3 * deviation + 0.005


@pytest.mark.parametrize("maker", MAKERS)
def test_a_signature_depends_on_the_set_alone(maker: str) -> None:
    make = signatures(maker)
    numbers = np.random.default_rng(0).integers(0, 1 << 63, 50).astype(np.uint64)
    alone = make(numbers, np.array([0, 50]))
    repeated = np.concatenate([numbers[::-1], numbers[:10]])
    assert np.array_equal(make(repeated, np.array([0, 60])), alone)
    many = np.concatenate([np.arange(90_000, dtype=np.uint64), numbers])
    assert np.array_equal(make(many, np.array([0, 90_000, 90_050]))[1:], alone)


def test_numpy_takes_over_where_rensa_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert signatures().name == "numpy-1"
    with pytest.raises(SeedbedError) as raised:
        signatures("rensa")
    assert "seedbed[prepare]" in raised.value.hint


@needs_rensa
def test_processes_made_by_spawn_do_not_hang_after_rensa_was_used(tmp_path: Path) -> None:
    script = tmp_path / "program.py"  # spawn imports the main module again, so that it must be a file
    script.write_text(f"import sys; sys.path[:] = {sys.path!r}\n{PROGRAM}")
    subprocess.run([sys.executable, str(script)], check=True, timeout=patience.HANG_S)


PROGRAM = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import numpy as np
from seedbed.curation.duplicates.minhash import signatures

def made(seed):
    numbers = np.random.default_rng(seed).integers(0, 1 << 63, 500_000).astype(np.uint64)
    return int(signatures("rensa")(numbers, np.arange(0, 500_001, 250)).sum())

if __name__ == "__main__":
    here = made(1)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(made, [1, 1])) == [here, here]
"""
