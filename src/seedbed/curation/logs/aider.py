"""Reads the chat history of Aider, `.aider.chat.history.md`: what the user and the model said, without tool calls.

Aider writes `# aider chat started at TIME` for a session, `#### ` before lines of the user and `> ` before its own
messages, and ends these lines with two spaces; all else is the model's answer. Headings and quotations of the model
look the same, but without the two spaces, which tells them apart. In a history from which an editor removed these
spaces, the beginnings of lines alone decide. Source: aider/io.py, append_chat_history.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from seedbed.curation.drops import Drops
from seedbed.curation.logs.characters import decoded
from seedbed.curation.logs.conversation import Conversation, model_note
from seedbed.curation.logs.head import Head
from seedbed.curation.logs.lines import lines_of, open_file
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.logs.provenance import links_of, repository_of, utc
from seedbed.curation.record import Provenance, Record, is_trained
from seedbed.text import legible

NAME = "aider"

_START = "# aider chat started at "
_MODEL = re.compile(r"(?:Main model|Model|Models): (\S+)")
_VERSION = re.compile(r"Aider v(\S+)")
_EDITED = re.compile(r"Applied edit to (.+)")
_ASKING = ("/ask ", "/code ", "/architect ")
_FENCE = re.compile(r"\s{0,3}(`{3,})\s*(.*?)\s*$")
_SPACED = re.compile(rb"^(?:####|>) .*  \r?$", re.MULTILINE)
_HEAD = 1 << 20
_PROGRAM = ("> Tokens: ", "> ^C", "> Applied edit to ", "> Commit ")
"""Messages that also end an answer whose code block is not closed."""


def recognise(path: Path, head: Head) -> str | None:
    """ "" if a file is a chat history; None otherwise."""
    if path.suffix != ".md":
        return None
    return "" if _START.encode() in head.data[:4000] or path.name == ".aider.chat.history.md" else None


def unit_of(path: Path) -> Path:
    """Each history is read on its own."""
    return path


def read(files: list[tuple[Path, str]], options: LogOptions, drops: Drops) -> Iterator[Record]:
    """Yield the record of each session. Its time is that of the clock of the machine, without a zone."""
    for path, name in files:
        handle = open_file(path, name, drops)
        if handle is None:
            continue
        with handle:
            spaced = _SPACED.search(handle.read(_HEAD)) is not None
            handle.seek(0)
            yield from _History(path, name, spaced, options, drops).records(lines_of(handle, name, drops))


class _History:
    def __init__(self, path: Path, name: str, spaced: bool, options: LogOptions, drops: Drops) -> None:
        self.name = name
        self.end = "  " if spaced else ""  # how lines of the user and of Aider end
        self.options = options
        self.drops = drops
        self.repository = repository_of(legible(str(path.resolve().parent)))
        self.sessions = 0
        self._begin("")

    def _begin(self, time: str) -> None:
        self.time = time
        self.talk = Conversation(self.options, self.drops)
        self.model: str | None = None
        self.version: str | None = None
        self.models: dict[str, None] = {}
        self.changed: set[str] = set()
        self.question: list[str] = []
        self.asked = ""  # the words of the last question to `/ask` and the like
        self.answer: list[str] = []
        self.fence = 0  # how many backticks opened the code block that is open; 0: none is
        self.skipping = False  # what follows a command of the program

    def records(self, lines: Iterator[tuple[int, int, bytes]]) -> Iterator[Record]:
        last = 0
        for number, _, data in lines:
            if number > last + 1 and self.answer:
                self.answer += [""] * (number - last - 1)  # lines_of leaves out empty lines
            elif number > last + 1:
                self._ask()
            last = number
            line = decoded(data, self.drops).rstrip("\r\n")
            if line.startswith(_START):
                yield from self._record()
                self._begin(line[len(_START) :].strip())
            elif not self.fence and line.startswith("####") and line.endswith(self.end):
                self._answer()
                self.question.append(line.removeprefix("####").removeprefix(" ").removesuffix(self.end))
            elif line.startswith(_PROGRAM if self.fence else "> ") and line.endswith(self.end):
                self._ask()
                self._answer()
                self._message(line[2:].strip())
                if "chat history cleared" in line:  # what the model saw begins again
                    yield from self._record(cleared=True)
                    model, version = self.model, self.version
                    self._begin(self.time)
                    self.model, self.version = model, version
            else:
                self._ask()
                self._look_for_fence(line)
                self.answer.append(line)
        yield from self._record()

    def _look_for_fence(self, line: str) -> None:
        if found := _FENCE.match(line):
            ticks = len(found[1])
            if not self.fence:
                self.fence = ticks
            elif ticks >= self.fence and not found[2]:
                self.fence = 0

    def _ask(self) -> None:
        if not self.question:
            return
        text = "\n".join(self.question).strip()
        self.question = []
        self.skipping = False
        if text.startswith("/"):
            asked = next((text[len(each) :] for each in _ASKING if text.startswith(each)), None)
            if asked is None:
                self.drops.note(STEP, "command of the program left out")
                self.skipping = True
                return
            self.asked = _words(asked)
            text = asked
        elif self.asked and _words(text) == self.asked:  # Aider writes the question of `/ask` again
            self.asked = ""
            return
        elif self._is_last_answer(text):
            self.drops.note(STEP, "answer of the architect that was given to the editor model")
            return
        self.talk.user(text)

    def _is_last_answer(self, text: str) -> bool:
        messages = self.talk.messages
        return bool(messages) and messages[-1].role == "assistant" and _words(messages[-1].content) == _words(text)

    def _answer(self) -> None:
        text = "\n".join(self.answer).strip("\n")
        self.answer = []
        self.fence = 0
        if not text.strip():
            return
        if self.skipping:
            self.drops.note(STEP, "output of a command left out")
            return
        if self.model:
            self.models[self.model] = None
            self.drops.note(STEP, model_note(self.model))
        self.talk.assistant(text)

    def _message(self, text: str) -> None:
        """A message of the program: it says which model answers and which files were changed."""
        self.drops.note(STEP, "message of the program left out")
        if found := _MODEL.match(text):
            self.model = found[1]
        elif found := _VERSION.match(text):
            self.version = found[1]
        elif found := _EDITED.match(text):
            self.changed.add(found[1])
        elif text.startswith("^C"):
            self.drops.note(STEP, "interrupted by the user")
            self.talk.ends_badly = "interruption"

    def _record(self, *, cleared: bool = False) -> Iterator[Record]:
        self._ask()
        self._answer()
        self.sessions += 1
        where = f"{self.name} {self.time or self.sessions}"
        messages = self.talk.finish()
        if not any(is_trained(each) for each in messages):
            if (self.time and not cleared) or self.talk.messages:
                self.drops.drop(STEP, "conversation without an answer", where)
            return
        if self.talk.left_out_as_failed(where):
            return
        session = f"aider-{self.repository or ''}-{self.time or self.sessions}".replace(" ", "T")
        yield Record(
            kind="chat",
            messages=messages,
            provenance=Provenance(
                source=NAME, file=self.name, session=session, repository=self.repository, time=utc(self.time),
                model=", ".join(self.models) or None, version=self.version,
            ),
            links=links_of([session], self.changed, self.repository),
        )  # fmt: skip


def _words(text: str) -> str:
    return " ".join(text.split())
