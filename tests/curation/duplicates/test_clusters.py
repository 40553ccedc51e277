from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from planted_duplicates import code, edited, jaccard, prose, words
from seedbed.curation.duplicates.clusters import Clusters, find_clusters
from seedbed.curation.duplicates.signature_files import write_signatures
from seedbed.curation.record import Record
from seedbed.errors import SeedbedError


def clustered(folder: Path, records: Sequence[Record], ranks: int = 1, maker: str = "auto") -> Clusters:
    """The clusters of records that are divided among ranks, record by record."""
    paths = []
    for rank in range(ranks):
        paths.append(folder / f"signatures-{rank}")
        write_signatures(iter(records[rank::ranks]), paths[-1], maker)
    return find_clusters(paths)


def members(records: Sequence[Record], clusters: Clusters, ranks: int = 1) -> dict[str, set[str]]:
    """The ids of the records in each cluster, by its name."""
    order = [record.id for rank in range(ranks) for record in records[rank::ranks]]
    found = defaultdict(set)
    for identity, cluster in zip(order, clusters.of_record.tolist(), strict=True):
        if cluster >= 0:
            found[clusters.names[cluster]].add(identity)
    assert sorted(map(len, found.values())) == sorted(clusters.sizes.tolist())
    return dict(found)


def planted(count: int, apart: int) -> list[Record]:
    """`count` texts with three near duplicates each (Jaccard above .9), and `apart` others."""
    found = []
    for seed in range(count):
        original = words(seed, 300)
        found += [prose(" ".join(edited(original, edits, seed * 10 + edits))) for edits in (0, 1, 2, 3)]
    return found + [prose(" ".join(words(10_000 + seed))) for seed in range(apart)]


def test_planted_near_duplicates_are_clusters_and_nothing_else_is(tmp_path: Path) -> None:
    records = planted(50, apart=300)
    found = members(records, clustered(tmp_path, records))
    expected = [{record.id for record in records[place : place + 4]} for place in range(0, 200, 4)]
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, expected))


@pytest.mark.parametrize("ranks", [2, 8])
def test_clusters_are_the_same_for_every_number_of_ranks_and_order_of_records(tmp_path: Path, ranks: int) -> None:
    records = planted(40, apart=100)
    expected = members(records, clustered(tmp_path, records))
    random.Random(1).shuffle(records)
    assert len(expected) == 40
    assert members(records, clustered(tmp_path, records, ranks), ranks) == expected


def test_chains_give_the_same_clusters_in_every_order(tmp_path: Path) -> None:
    chain = [words(1, 300)]
    for step in range(30):  # each is similar to those before and after it alone
        chain.append(edited(chain[-1], 3, step))
    records = [prose(" ".join(each)) for each in chain]
    expected = members(records, clustered(tmp_path, records))
    assert max(map(len, expected.values())) > 8
    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert members(records, clustered(tmp_path, records, ranks=3), 3) == expected


def test_rensa_and_numpy_find_the_same_planted_clusters(tmp_path: Path) -> None:
    pytest.importorskip("rensa")
    records = planted(60, apart=200)
    assert members(records, clustered(tmp_path, records, maker="rensa")) == members(
        records, clustered(tmp_path, records, maker="numpy")
    )


@pytest.mark.parametrize("maker", ["auto", "numpy"])
def test_recall_of_planted_pairs_by_their_exact_similarity(tmp_path: Path, maker: str) -> None:
    """16 bands of 8 miss 1 - (1 - .8 ** 8) ** 16 = 5 % at a similarity of exactly .8, and 0.1 % at .9."""
    chosen = random.Random(3)
    pairs = []
    for seed in range(600):
        original = words(seed, 300)
        other = edited(original, chosen.randint(1, 8), seed)
        pairs.append((original, other, jaccard(original, other)))
    records = [
        code(" ".join(each), f"{n}-{side}.py") for n, pair in enumerate(pairs) for side, each in enumerate(pair[:2])
    ]
    found = clustered(tmp_path, records, maker=maker).of_record
    together = (found[0::2] == found[1::2]) & (found[0::2] >= 0)
    similarity = np.array([pair[2] for pair in pairs])
    assert (similarity >= 0.8).sum() > 300
    assert together[similarity >= 0.8].mean() >= 0.99
    assert together[similarity >= 0.9].mean() == 1


def test_pairs_below_the_similarity_are_kept_apart(tmp_path: Path) -> None:
    pairs = [(words(seed), edited(words(seed), 34, seed)) for seed in range(200)]
    assert max(jaccard(*pair) for pair in pairs) < 0.6
    records = [code(" ".join(each), f"{n}-{side}.py") for n, pair in enumerate(pairs) for side, each in enumerate(pair)]
    assert not clustered(tmp_path, records).names


def test_prose_must_be_more_similar_than_code(tmp_path: Path) -> None:
    pairs = [(words(seed, 300), edited(words(seed, 300), 11, seed)) for seed in range(100)]
    assert 0.68 < min(jaccard(*pair) for pair in pairs) < max(jaccard(*pair) for pair in pairs) < 0.76
    texts = [" ".join(each) for pair in pairs for each in pair]
    as_code = clustered(tmp_path, [code(text, f"{n}.py") for n, text in enumerate(texts)])
    as_prose = clustered(tmp_path, [prose(text) for text in texts])
    assert len(as_code.names) > 20
    assert len(as_prose.names) < 5


def test_texts_of_fewer_than_five_words_are_in_no_cluster(tmp_path: Path) -> None:
    records = [prose("one two three four"), prose("One two three four."), prose(""), prose("...")]
    assert clustered(tmp_path, records).of_record.tolist() == [-1] * 4


def test_unicode_texts_are_compared(tmp_path: Path) -> None:
    russian = "Обучение модели на двух процессорах занимает примерно шесть минут и даёт те же самые веса"
    chinese = "在两个处理器上训练模型大约需要六分钟并得到相同的权重"
    records = [
        prose(russian),
        prose(russian + "."),
        prose(chinese),
        prose(chinese + "。"),
        prose("👍" * 5),
        prose("👍" * 6),
    ]
    found = clustered(tmp_path, records).of_record.tolist()
    assert found[0] == found[1] >= 0
    assert found[2] == found[3] >= 0
    assert len({found[0], found[2], found[4]}) == 3


def test_large_clusters_of_equal_and_similar_texts_are_quick(tmp_path: Path) -> None:
    template = words(5, 120)
    records = [code(" ".join(template), f"{n}.py") for n in range(3000)]
    records += [code(" ".join(edited(template, 2, n)), f"other{n}.py") for n in range(3000)]
    found = clustered(tmp_path, records)
    assert len(found.names) == 1
    assert found.sizes.tolist() == [6000]


def test_no_records_and_no_files_have_no_clusters(tmp_path: Path) -> None:
    assert clustered(tmp_path, []).names == []
    assert find_clusters([]).names == []


def test_signatures_of_different_makers_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("rensa")
    for maker in ("rensa", "numpy"):
        write_signatures([prose("one two three four five six")], tmp_path / maker, maker)
    with pytest.raises(SeedbedError, match="different ways"):
        find_clusters([tmp_path / "rensa", tmp_path / "numpy"])


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_an_incomplete_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "signatures"
    write_signatures([prose("one two three four five six")], path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SeedbedError, match="no complete signatures"):
        find_clusters([path])
