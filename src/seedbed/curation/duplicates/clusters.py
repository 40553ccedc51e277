"""Finds the clusters of near duplicates among signatures: candidates by bands, verification, connected components.

The method is that of Broder (1997) and of chapter 3 of Mining of Massive Datasets (Leskovec, Rajaraman and Ullman).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seedbed.curation.duplicates.minhash import BANDS, PERMUTATIONS, ROWS, Signature, permutations
from seedbed.curation.duplicates.options import CODE_SIMILARITY, PROSE_SIMILARITY
from seedbed.curation.duplicates.signature_files import Digests, RecordRows, SignatureFiles

Numbers = npt.NDArray[np.int64]

_NEIGHBOURS = 8
"""Within a band's bucket, each text is compared with the first and with so many before it, so that large buckets stay cheap."""
_PAIRS, _BLOCK = 1 << 13, 1 << 9
"""How many pairs of signatures are compared, and how many signatures are looked at, at once."""


@dataclass(frozen=True)
class Clusters:
    """The clusters of n records.

    `of_record` (n): the number of each record's cluster, or -1. `sizes`: how many documents each cluster has, two or more.
    `names`: 32 hex digits of the hash of the smallest id of a record in each cluster.
    """

    of_record: npt.NDArray[np.int32]
    sizes: Numbers
    names: list[str]


def find_clusters(
    files: Sequence[Path], code_similarity: float = CODE_SIMILARITY, prose_similarity: float = PROSE_SIMILARITY
) -> Clusters:
    """The clusters of the records in signature files, numbered in the order of the files.

    The clusters and their names are the same for every order of the records and every division into files. Takes about
    1 kB per document. Raises SeedbedError if a file is incomplete or the files do not fit together.
    """
    opened = SignatureFiles(files)
    return clusters_of(opened, opened.record_rows(), code_similarity, prose_similarity)


def clusters_of(
    files: SignatureFiles,
    records: RecordRows,
    code_similarity: float,
    prose_similarity: float,
    pulse: Callable[[], None] = lambda: None,
) -> Clusters:
    """As `find_clusters`, of files whose rows of records are read. `pulse` is called often, and may raise to stop the work."""
    _, of_record = numbered(records.documents)
    documents, code, values = _sorted_signatures(files)
    thresholds = np.where(code, code_similarity, prose_similarity).astype(np.float32)
    roots = _components(values, thresholds, pulse)
    del values
    # From the sorted documents that have a signature to the sorted documents of all records.
    root_of_document = np.full(int(of_record.max(initial=-1)) + 1, -1, np.int64)
    all_documents = np.empty((len(root_of_document), 2), np.uint64)
    all_documents[of_record] = records.documents
    places = _places(documents, all_documents)
    root_of_document[places] = places[roots]
    return _named(root_of_document, of_record, records.ids)


def numbered(digests: Digests) -> tuple[int, Numbers]:
    """How many different digests there are, and the number of each in their sorted order."""
    order = np.argsort(digests[:, 0])
    ordered = digests[order]
    equal = ordered[1:, 0] == ordered[:-1, 0]
    if (ordered[1:, 1][equal] != ordered[:-1, 1][equal]).any():  # two digests that begin alike, once in 2^64 pairs
        order = np.lexsort((digests[:, 1], digests[:, 0]))
        ordered = digests[order]
    new = np.ones(len(order), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(new) - 1
    return int(new.sum()), numbers


def _places(wanted: Digests, among: Digests) -> Numbers:
    """Where each of some sorted digests is among other sorted digests, which have all of them."""
    _, numbers = numbered(np.concatenate([among, wanted]))
    return numbers[len(among) :]


def _sorted_signatures(files: SignatureFiles) -> tuple[Digests, npt.NDArray[np.bool_], Signature]:
    """The documents with a signature, sorted by their digest and each once; whether they are code; their signatures."""
    digests = np.empty((files.signatures, 2), np.uint64)
    place = 0
    for documents, _, _ in files.signature_blocks():
        digests[place : place + len(documents)] = documents
        place += len(documents)
    count, numbers = numbered(digests)
    code = np.zeros(count, bool)
    values = np.empty((count, PERMUTATIONS), np.uint32)
    place = 0
    for documents, is_code, block in files.signature_blocks():
        rows = numbers[place : place + len(documents)]
        digests[rows], code[rows], values[rows] = documents, is_code, block
        place += len(documents)
    return digests[:count], code, values


def _components(values: Signature, thresholds: npt.NDArray[np.float32], pulse: Callable[[], None]) -> Numbers:
    """The connected components of documents whose estimated similarity reaches both thresholds: the root of each."""
    parents = np.arange(len(values))
    if not len(values):
        return parents
    keys = _band_keys(values)
    parents[:] = _first_of_equal(keys)
    single = np.flatnonzero(parents == np.arange(len(values)))
    for band in keys:
        pulse()
        members = _in_buckets(band[single])
        places = single[members]
        for left, right in _candidates(band[places]):
            _join(parents, places[left], places[right], values, thresholds)
        parents = _flattened(parents)
    return parents


def _band_keys(values: Signature) -> npt.NDArray[np.uint64]:
    """For each band and document, a number that tells its values: a sum with odd random factors, modulo 2^64.

    There are 16 bands of neighbouring columns, and 16 of every sixteenth column, which find most of what the first 16 miss:
    at a similarity of .8, 0.7 % of the pairs are missed instead of 5 %.
    """
    factors = np.array([factor for factor, _ in permutations()], np.uint64)
    keys = np.empty((2 * BANDS, len(values)), np.uint64)
    for begin in range(0, len(values), _BLOCK):
        weighted = values[begin : begin + _BLOCK] * factors
        keys[:BANDS, begin : begin + _BLOCK] = weighted.reshape(-1, BANDS, ROWS).sum(axis=2).T
        keys[BANDS:, begin : begin + _BLOCK] = weighted.reshape(-1, ROWS, BANDS).sum(axis=1).T
    return keys


def _first_of_equal(keys: npt.NDArray[np.uint64]) -> Numbers:
    """For each document, the first whose keys are all equal."""
    combined = np.zeros(keys.shape[1], np.uint64)
    for band in keys:
        combined ^= band
        combined *= np.uint64(0xBF58476D1CE4E5B9)
        combined ^= combined >> np.uint64(29)
    _, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
    made: Numbers = first[inverse]
    return made


def _in_buckets(keys: npt.NDArray[np.uint64]) -> Numbers:
    """The places of keys that occur more than once, sorted by key and then by place."""
    order = np.argsort(
        keys
    )  # several times as fast as a stable sort, so that only what is left is sorted by place, too
    ordered = keys[order]
    equal = ordered[1:] == ordered[:-1]
    repeated = np.zeros(len(keys), bool)
    repeated[1:] |= equal
    repeated[:-1] |= equal
    places = order[repeated]
    made: Numbers = places[np.lexsort((places, keys[places]))]
    return made


def _candidates(keys: npt.NDArray[np.uint64]) -> list[tuple[Numbers, Numbers]]:
    """Pairs of places with equal keys, of sorted keys: each with those before it, up to a number, and with the first."""
    places = np.arange(len(keys))
    new = np.ones(len(keys), bool)
    new[1:] = keys[1:] != keys[:-1]
    begins = np.maximum.accumulate(np.where(new, places, 0))
    places = places[~new]
    found = [(begins[places], places)]
    for distance in range(1, _NEIGHBOURS + 1):
        places = places[places - distance > begins[places]]  # the pair with the first is there already
        if not len(places):
            break
        found.append((places - distance, places))
    return found


def _join(
    parents: Numbers, left: Numbers, right: Numbers, values: Signature, thresholds: npt.NDArray[np.float32]
) -> None:
    """Join the components of the pairs that are similar enough."""
    apart = parents[left] != parents[right]
    left, right = left[apart], right[apart]
    for begin in range(0, len(left), _PAIRS):
        one, other = left[begin : begin + _PAIRS], right[begin : begin + _PAIRS]
        equal = (values[one] == values[other]).sum(axis=1, dtype=np.int32)
        similar = equal >= np.maximum(thresholds[one], thresholds[other]) * PERMUTATIONS
        for first, second in zip(one[similar].tolist(), other[similar].tolist(), strict=True):
            root, joined = _root(parents, first), _root(parents, second)
            if root != joined:
                parents[max(root, joined)] = min(root, joined)


def _root(parents: Numbers, number: int) -> int:
    while (parent := int(parents[number])) != number:
        parents[number] = parents[parent]
        number = parent
    return number


def _flattened(parents: Numbers) -> Numbers:
    while not np.array_equal(above := parents[parents], parents):
        parents = above
    return parents


def _named(root_of_document: Numbers, of_record: Numbers, ids: Digests) -> Clusters:
    """Number the components with two or more documents, and name them by the smallest id of their records."""
    roots, counts = np.unique(root_of_document[root_of_document >= 0], return_counts=True)
    roots, counts = roots[counts > 1], counts[counts > 1]
    numbers = np.full(len(root_of_document) + 1, -1, np.int32)
    numbers[roots] = np.arange(len(roots))
    clusters = numbers[root_of_document][of_record]  # a root of -1 finds the last, which is -1
    inside = np.flatnonzero(clusters >= 0)
    order = inside[np.lexsort((ids[inside, 1], ids[inside, 0], clusters[inside]))]
    _, first = np.unique(clusters[order], return_index=True)
    smallest = ids[order[first]].astype(">u8")
    names = [hashlib.blake2b(row.tobytes(), digest_size=16, person=b"cluster").hexdigest() for row in smallest]
    return Clusters(clusters, counts.astype(np.int64), names)
