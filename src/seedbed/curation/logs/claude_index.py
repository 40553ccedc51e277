"""Finds the conversations in the records of a Claude Code project: which records are live, in which order.

Records form trees by `parentUuid`. The live branch of a file is the path from its newest leaf to the root; a
compaction begins a new root, whose `logicalParentUuid` names the end of the segment before it. Sub-agents are trees
of their own. Only the fields that this needs are kept, and where each record is in its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.lines import lines_of, open_file, values_of
from seedbed.curation.logs.options import STEP
from seedbed.curation.logs.provenance import seconds
from seedbed.text import legible, printable

_CONTINUED = "This session is being continued from a previous conversation"
_TURNS = ("user", "assistant")
_WITHOUT_TURNS = frozenset(
    ("system", "summary", "file-history-snapshot", "queue-operation", "progress", "permission-mode", "attachment",
     "last-prompt", "custom-title", "agent-name", "tag", "mode", "pr-link", "ai-title")
)  # fmt: skip
"""Types of records that have no turn; an attachment may have a prompt."""


class HeadBlock(msgspec.Struct, gc=False):
    """What the search for conversations needs of a block of content."""

    id: str | None = None
    tool_use_id: str | None = None


class HeadMessage(msgspec.Struct, gc=False):
    """What the search for conversations needs of a message."""

    id: str | None = None
    content: str | list[HeadBlock | str] | None = None


class Head(msgspec.Struct, gc=False, rename="camel"):
    """What the search for conversations needs of a record."""

    type: str = ""
    uuid: str | None = None
    parent_uuid: str | None = None
    logical_parent_uuid: str | None = None
    session_id: str | None = None
    timestamp: str | int | float | None = None
    is_sidechain: bool | None = None
    agent_id: str | None = None
    is_compact_summary: bool | None = None
    message: HeadMessage | str | None = None


class Node(msgspec.Struct, gc=False):
    """A record: where it is, and how it hangs together with others (numbers of nodes; -1: none)."""

    file: int
    offset: int
    size: int
    line: int
    turn: str
    """user, assistant or "" for a record of another type, which only links others."""
    time: str
    session: str
    thread: tuple[int, str]
    """File and sub-agent. "" is the main conversation."""
    parent: int = -1
    before: int = -1
    """Of a root: the end of the segment that it continues."""
    message_id: str | None = None
    calls: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


class _Place(NamedTuple):
    """Where a record is: the number of its file and line, its bytes in the file, and where it begins in the line."""

    file: int
    line: int
    offset: int
    size: int
    start: int = 0

    def name(self) -> str:
        return f"{self.file}:{self.line}" + (f":{self.start}" if self.start else "")


class Segment(NamedTuple):
    """A conversation: its nodes from the first to the last."""

    nodes: list[int]
    thread: tuple[int, str]


class Index:
    """The records of one project folder and their links."""

    def __init__(self, files: list[tuple[Path, str]], drops: Drops) -> None:
        self.files = files
        self.nodes: list[Node] = []
        self.unanswered: set[int] = set()
        """Nodes of files and sub-agents without a question and its answer; known after `segments`."""
        self.repaired: set[tuple[int, int]] = set()
        """File and line of each record that was damaged and is counted as such."""
        self._drops = drops
        self._numbers: dict[str, int] = {}  # uuid -> node
        self._parents: list[tuple[str | None, str | None]] = []  # of each node: parentUuid, logicalParentUuid
        self._last: dict[tuple[int, str], int] = {}  # the last turn of each thread so far
        self._previous: list[int] = []
        self._families: dict[str, str] = {}  # union-find of session ids
        self._message_sessions: dict[str, str] = {}
        self._strings: dict[str, str] = {}
        self._decoder = msgspec.json.Decoder(Head)
        for number in range(len(files)):
            self._read(number)
        self._link()

    def family(self, session: str) -> str:
        """The session id that stands for a session and all that share records with it."""
        path = []
        while (above := self._families.get(session, session)) != session:
            path.append(session)
            session = above
        for each in path:
            self._families[each] = session
        return session

    def family_members(self) -> dict[str, list[str]]:
        """The session ids of each family, sorted."""
        found: dict[str, list[str]] = {}
        for session in sorted(self._families):
            found.setdefault(self.family(session), []).append(session)
        return found

    def _join(self, one: str, other: str) -> None:
        first, second = sorted((self.family(one), self.family(other)))
        self._families.setdefault(one, one)
        self._families.setdefault(other, other)
        self._families[second] = first

    def _read(self, number: int) -> None:
        path, name = self.files[number]
        handle = open_file(path, name, self._drops)
        if handle is None:
            return
        decode = self._decoder.decode
        file_session = legible(path.stem)
        with handle:
            for line, offset, data in lines_of(handle, name, self._drops):
                try:
                    head = decode(data)
                except (msgspec.DecodeError, RecursionError):
                    self.repaired.add((number, line))
                    for head, piece in values_of(data, self._decoder, f"{name}:{line}", self._drops):
                        self._add(
                            head, _Place(number, line, offset + piece.start, piece.size, piece.start), file_session
                        )
                else:
                    self._add(head, _Place(number, line, offset, len(data)), file_session)

    def _add(self, head: Head, place: _Place, file_session: str) -> None:
        kind = head.type
        message = head.message
        if kind not in _TURNS:
            self._drops.note(STEP, _type_note(kind))
            if head.uuid is None or kind == "summary":
                return
        session = head.session_id or file_session
        session = self._strings.setdefault(session, session)
        self._families.setdefault(session, session)
        uuid = head.uuid or place.name()
        known = self._numbers.get(uuid)
        if known is not None:
            self._drops.note(STEP, "repeated record left out")
            self._join(session, self.nodes[known].session)
            return
        node = Node(
            file=place.file,
            offset=place.offset,
            size=place.size,
            line=place.line,
            turn=kind if kind in _TURNS or kind == "attachment" else "",
            time=str(head.timestamp or ""),
            session=session,
            thread=(place.file, head.agent_id or uuid if head.is_sidechain else ""),
        )
        if isinstance(message, HeadMessage):
            if kind == "assistant" and message.id:
                node.message_id = message.id
                if (other := self._message_sessions.setdefault(message.id, session)) != session:
                    self._join(session, other)
            if isinstance(message.content, list):
                blocks = [each for each in message.content if isinstance(each, HeadBlock)]
                node.results = tuple(each.tool_use_id for each in blocks if each.tool_use_id)
                if kind == "assistant":
                    node.calls = tuple(each.id for each in blocks if each.id)
        self._place(head, node, uuid)

    def _place(self, head: Head, node: Node, uuid: str) -> None:
        number = len(self.nodes)
        parent = head.parent_uuid
        if head.is_sidechain and not head.agent_id and parent is not None:
            # A sub-agent of an old version: all its records belong to the thread of its root.
            above = self._numbers.get(parent)
            if above is not None and self.nodes[above].thread[1]:
                node.thread = self.nodes[above].thread
        logical = head.logical_parent_uuid
        self._previous.append(self._last.get(node.thread, -1))
        if parent is None and logical is None and _continues(head) and self._previous[-1] >= 0:
            node.before = self._previous[-1]
        self._numbers[uuid] = number
        self.nodes.append(node)
        self._parents.append((parent, logical))
        if node.turn in _TURNS:
            self._last[node.thread] = number

    def _link(self) -> None:
        """Turn the uuids of parents into numbers, and thread files whose records name no parents at all."""
        numbers, nodes = self._numbers, self.nodes
        # An answer or a result without a parent is in a log that names none: there, the order of lines tells.
        unthreaded = {
            nodes[i].thread
            for i, (parent, logical) in enumerate(self._parents)
            if parent is None and logical is None and (nodes[i].turn == "assistant" or nodes[i].results)
        }
        for i, (parent, logical) in enumerate(self._parents):
            node = nodes[i]
            if parent is not None:
                found = numbers.get(parent, -1)
                if found >= 0 and (nodes[found].thread[1] != "") == (node.thread[1] != ""):
                    node.parent = found
                    self._join(node.session, nodes[found].session)
                elif found < 0 and self._previous[i] >= 0:
                    node.parent = self._previous[i]
                    self._drops.note(STEP, "record whose parent is missing, placed by its line")
            elif logical is not None:
                # After a compaction that keeps turns, it names one of these, which stands behind its boundary.
                found = numbers.get(logical, -1)
                node.before = found if 0 <= found < i else self._previous[i]
            elif node.thread in unthreaded and node.before < 0:
                node.parent = self._previous[i]
        self._parents.clear()
        self._previous.clear()
        self._break_loops()

    def _break_loops(self) -> None:
        """Cut the parent of a record that is its own ancestor: a path to the root would never end."""
        checked = bytearray(len(self.nodes))  # 1: on the current path, 2: leads to a root
        for start in range(len(self.nodes)):
            path = []
            at = start
            while at >= 0 and not checked[at]:
                checked[at] = 1
                path.append(at)
                above = self.nodes[at].parent
                if above >= 0 and checked[above] == 1:
                    self.nodes[min(path[path.index(above) :])].parent = above = -1
                    self._drops.note(STEP, "record that is its own ancestor")
                at = above
            for each in path:
                checked[each] = 2

    def where(self, node: int) -> str:
        """File and line of a node."""
        return f"{self.files[self.nodes[node].file][1]}:{self.nodes[node].line}"

    def segments(self) -> list[Segment]:
        """The live conversations in the order of files; one that another continues is left out."""
        leaves = self._leaves_by_thread()
        found: list[Segment] = []
        seen: set[int] = set()
        unanswered = set()
        for thread in sorted(leaves):
            for leaf in leaves[thread]:
                path = self.path(leaf)
                turns = [self.nodes[each].turn for each in path]
                if "user" in turns and "assistant" in turns:
                    found += self._with_earlier(path, thread, seen)
                    break
            else:
                self._drops.drop(STEP, "conversation without an answer", self.where(leaves[thread][0]))
                unanswered.add(thread)
        self.unanswered = {i for i, node in enumerate(self.nodes) if node.thread in unanswered}
        inner = {each for segment in found for each in segment.nodes[:-1]}
        return [segment for segment in found if segment.nodes[-1] not in inner]

    def _with_earlier(self, path: list[int], thread: tuple[int, str], seen: set[int]) -> list[Segment]:
        found = []
        while path and path[-1] not in seen:
            seen.add(path[-1])
            found.append(Segment(path, thread))
            before = self.nodes[path[0]].before
            path = self.path(before) if before >= 0 else []
        return found[::-1]

    def path(self, leaf: int) -> list[int]:
        """The nodes from the root of a leaf to the leaf."""
        found = []
        while leaf >= 0:
            found.append(leaf)
            leaf = self.nodes[leaf].parent
        return found[::-1]

    def turn_above(self, node: int) -> int:
        """The nearest user or assistant turn above a node; -1 if there is none."""
        node = self.nodes[node].parent
        while node >= 0 and self.nodes[node].turn not in _TURNS:
            node = self.nodes[node].parent
        return node

    def _leaves_by_thread(self) -> dict[tuple[int, str], list[int]]:
        """The turns of each thread that no turn of the same thread follows, the newest first."""
        turns = [i for i, node in enumerate(self.nodes) if node.turn in _TURNS]
        followed = set()
        for i in turns:
            above = self.turn_above(i)
            if above >= 0 and self.nodes[above].thread == self.nodes[i].thread:
                followed.add(above)
        found: dict[tuple[int, str], list[int]] = {}
        for i in turns:
            if i not in followed:
                found.setdefault(self.nodes[i].thread, []).append(i)
        for leaves in found.values():
            if len(leaves) > 1:
                leaves.sort(key=lambda i: (seconds(self.nodes[i].time), i), reverse=True)
        return found

    def branches(self, live: set[int]) -> Iterator[list[int]]:
        """Yield the turns of each branch that the user abandoned and that has an answer: from its first to its newest leaf."""
        heads: dict[int, int] = {}
        members: dict[int, list[int]] = {}
        for i, node in enumerate(self.nodes):
            if node.turn not in _TURNS or i in live:
                continue
            above = self.turn_above(i)
            head = heads[i] = heads.get(above, i) if above >= 0 and above not in live else i
            members.setdefault(head, []).append(i)
        for nodes in members.values():
            if any(self.nodes[each].turn == "assistant" for each in nodes):
                yield nodes


@lru_cache(1024)
def _type_note(kind: str) -> str:
    return f"{'' if kind in _WITHOUT_TURNS else 'unknown '}record type: {printable(kind)[:60] or '(none)'}"


def _continues(head: Head) -> bool:
    """Whether a root is the summary of a compaction in a version that writes no boundary before it."""
    if head.is_compact_summary:
        return True
    content = head.message.content if isinstance(head.message, HeadMessage) else None
    return head.type == "user" and isinstance(content, str) and content.startswith(_CONTINUED)
