"""Joins rows to groups that stay in one split: rows that share a link, or of which one contains most of the other."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from seedbed.curation.splitting.containment import Contained
from seedbed.curation.splitting.scan import FILE, NO_TIME, OPENING, PATH, PREFIX, STRONG, Rows

Level = Literal["auto", "links", "repository", "time"]
"""What a group is. `links`: rows that are tied by links or contain each other. `repository`: all rows of a repository, too.
`time`: a session, a commit or a file, and the newest of these are evaluated. `auto`: `repository` for many repositories,
else `links`, and `time` for the rows of a group that is too large to be in one split."""
TOO_LARGE = 0.2
"""The largest share of rows that one group may hold before `auto` divides it: a larger one could never be evaluated."""
MANY_REPOSITORIES = 20
DIVIDED = 20
"""A group of this many rows or fewer is never divided."""
COMMON_OPENING = 0.1
"""First user turns of more than this share of the rows (and at least 50) are a template: they tie nothing together."""


class Groups(NamedTuple):
    """The groups of the rows."""

    group: np.ndarray
    """The lowest number of a row in the same group, int64 (N,)."""
    key: np.ndarray
    """The stable name of the row's group, uint64 (N,)."""
    timed: np.ndarray
    """Whether the newest of these rows are evaluated, instead of a random choice of groups; bool (N,)."""
    prefix: np.ndarray
    """Whether the turns of the row begin a longer row, which makes it superfluous; bool (N,)."""
    level: str
    """How groups were made: repository, links, links without files, or time."""
    messages: tuple[str, ...]
    """What a person should know about it."""
    edges: tuple[np.ndarray, np.ndarray]
    """Rows that are tied together, int64 (E,) each; `group` has the components."""

    def parted(self, rows: Rows, trained: np.ndarray, evaluated: np.ndarray) -> Groups:
        """The same without edges, but groups in which rows were trained and others evaluated before are divided.

        New rows tie such groups together. They go with what was evaluated, unless only trained rows tie them to it.
        `trained` and `evaluated`, bool (N,), have no row in common.
        """
        nothing = np.empty(0, np.int64)
        mixed = _mixed(self.group, evaluated, trained)
        if not mixed.any():
            return self._replace(edges=(nothing, nothing))
        rest = components(rows.count, *_within(self.edges, trained))
        stays = mixed & (trained | ~np.isin(rest, rest[evaluated]))
        group = components(rows.count, *_within(self.edges, stays))
        keys = np.where(mixed, _best_keys(rows, group), self.key)
        keys = np.where(stays & np.isin(keys, keys[~stays]), ~keys, keys)  # both have rows of one file
        return self._replace(group=group, key=keys, edges=(nothing, nothing))

    def joined(self, group: np.ndarray, rows: Rows) -> Groups:
        """The same with groups that were joined: `group` as in the field."""
        return self._replace(group=group, key=_lowest(self.key, group, rows.time, rows.key_rank))


def components(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The lowest number in the connected component of each of `count` nodes, for the edges a-b; int64 (count,).

    Roots are joined to lower roots, and paths are then compressed, for all edges at once, until nothing changes.
    """
    root = np.arange(count)
    while True:
        low, high = np.minimum(root[a], root[b]), np.maximum(root[a], root[b])
        differ = low != high
        if not differ.any():
            return root
        np.minimum.at(root, high[differ], low[differ])
        while True:
            shorter = root[root]
            if np.array_equal(shorter, root):
                break
            root = shorter


def grouped(
    rows: Rows, contained: Contained, level: Level, apart: tuple[np.ndarray, np.ndarray] | None = None
) -> Groups:
    """The groups of all rows at a level; see `Level`.

    `apart`, bool (N,) each: rows that earlier builds evaluated, and rows that they trained. `auto` divides a group that has
    rows of both as if it were too large, unless it is small (see `Groups.parted`): either it was, among fewer rows, or new
    rows tie together what was apart.
    """

    def divided(group: np.ndarray) -> np.ndarray:
        return _large(group) if apart is None else _large(group) | (_mixed(group, *apart) & (_sizes(group) > DIVIDED))

    messages: list[str] = []
    prefix, prefix_edges = _prefixes(rows)
    strong = [prefix_edges, _edges(rows, STRONG), _openings(rows, messages)]
    paths, files = _edges(rows, PATH), _edges(rows, FILE, PATH)  # a session ties itself to what git has of the file
    part_of = (contained.a, contained.b)
    edges = [*strong, paths, files, part_of]
    used = "links"
    if level in ("auto", "repository") and _by_repository(rows, level):
        used = "repository"
        edges.append(_shared(rows.repository, np.arange(rows.count)))
    tied = _joined(edges)
    group = components(rows.count, *tied)
    timed = np.zeros(rows.count, bool)
    keys = _best_keys(rows, group)
    too_large = np.ones(rows.count, bool) if level == "time" else divided(group)
    if level == "auto" and too_large.any():
        share = np.bincount(group).max() / rows.count
        files = _outside(files, too_large)
        tied = _joined([*strong, paths, part_of, files])
        group = components(rows.count, *tied)
        keys = _best_keys(rows, group)
        if not divided(group).any():
            used = "links without files"
            messages.append(
                f"One group held {share:.0%} of the rows, so files that sessions changed do not tie these rows together."
            )
        elif _large(group).any():
            messages.append(
                f"One group holds {share:.0%} of the rows, since their files and commits are tied together. So its newest rows "
                "are evaluated, and rows whose answers can be seen in training rows are not."
            )
        too_large = divided(group)
    if level == "time" or (level == "auto" and too_large.any()):
        used = "time"
        smaller = [_outside(each, too_large) for each in (paths, files, part_of)]
        tied = _joined([*strong, *smaller, _single_files(rows, too_large)])
        group = components(rows.count, *tied)
        keys = np.where(too_large, rows.tied_key, keys)
        keys = _lowest_keys(keys, group, np.where(too_large, 0, 1))
        timed = too_large & (rows.time != NO_TIME)
    return Groups(group, keys, timed, prefix, used, tuple(messages), tied)


def _by_repository(rows: Rows, level: Level) -> bool:
    if level == "repository":
        return True
    _, sizes = np.unique(rows.repository, return_counts=True)
    return len(sizes) >= MANY_REPOSITORIES and int(sizes.max()) <= TOO_LARGE * rows.count


def _large(group: np.ndarray) -> np.ndarray:
    """Whether each row is in a group with more than TOO_LARGE of the rows."""
    if not len(group):
        return np.zeros(0, bool)
    return _sizes(group) > max(TOO_LARGE * len(group), DIVIDED)


def _mixed(group: np.ndarray, evaluated: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Whether each row is in a group that has rows of both kinds."""
    mixed: np.ndarray = np.isin(group, group[evaluated]) & np.isin(group, group[trained])
    return mixed


def _sizes(group: np.ndarray) -> np.ndarray:
    """How many rows are in the group of each row."""
    sizes: np.ndarray = np.bincount(group, minlength=len(group))[group]
    return sizes


def _edges(rows: Rows, *kinds: int) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.isin(rows.link_kind, kinds)
    return _shared(rows.link[chosen], rows.link_row[chosen])


def _shared(values: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges that connect all numbers with the same value."""
    order = np.argsort(values, kind="stable")
    values, numbers = values[order], numbers[order].astype(np.int64)
    same = values[1:] == values[:-1]
    return numbers[:-1][same], numbers[1:][same]


def _joined(edges: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([a for a, _ in edges]), np.concatenate([b for _, b in edges])


def _outside(edges: tuple[np.ndarray, np.ndarray], inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = edges
    kept = ~(inside[a] & inside[b])
    return a[kept], b[kept]


def _within(edges: tuple[np.ndarray, np.ndarray], side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges that have both ends on the same side."""
    a, b = edges
    kept = side[a] == side[b]
    return a[kept], b[kept]


def _single_files(rows: Rows, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges between rows without a time, inside a divided group, that belong to the same file and to no other."""
    chosen = np.flatnonzero(inside & (rows.time == NO_TIME))
    return _shared(rows.tied_key[chosen], chosen)


def _prefixes(rows: Rows) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Which rows begin a longer row, and edges from each of them to a longer row."""
    chosen = rows.link_kind == PREFIX
    starts, owners = rows.link[chosen], rows.link_row[chosen]
    order = np.lexsort((owners, starts))
    starts, owners = starts[order], owners[order].astype(np.int64)
    place = np.searchsorted(starts, rows.conversation)
    found = (rows.conversation != 0) & (place < len(starts))
    found[found] = starts[place[found]] == rows.conversation[found]
    short = np.flatnonzero(found)
    return found, (short, owners[place[short]])


def _openings(rows: Rows, messages: list[str]) -> tuple[np.ndarray, np.ndarray]:
    chosen = rows.link_kind == OPENING
    values, numbers = rows.link[chosen], rows.link_row[chosen]
    if not len(values):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    _, where, sizes = np.unique(values, return_inverse=True, return_counts=True)
    common = sizes > max(COMMON_OPENING * rows.count, 50)
    if common.any():
        messages.append(
            f"{int(sizes[common].sum()):,} rows share their first user turns with more than {COMMON_OPENING:.0%} of all rows, "
            "such as those of a template. This does not tie them together."
        )
    kept = ~common[where]
    return _shared(values[kept], numbers[kept])


def _best_keys(rows: Rows, group: np.ndarray) -> np.ndarray:
    """The key of each row's group: of its best rank, then its earliest row, then the lowest key."""
    return _lowest(rows.key, group, rows.time, rows.key_rank)


def _lowest_keys(keys: np.ndarray, group: np.ndarray, rank: np.ndarray) -> np.ndarray:
    return _lowest(keys, group, rank)


def _lowest(keys: np.ndarray, group: np.ndarray, *orders: np.ndarray) -> np.ndarray:
    order = np.lexsort((keys, *orders, group))
    first = np.r_[True, group[order][1:] != group[order][:-1]] if len(group) else np.empty(0, bool)
    best = np.empty(len(group), keys.dtype)
    best[group[order][first]] = keys[order][first]
    named: np.ndarray = best[group]
    return named
