"""The step of a pipeline that redacts every text of a record, and the secret key of a project."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from seedbed import files
from seedbed.curation.drops import Drops
from seedbed.curation.record import ContextFile, Function, Licence, Message, Record, Redaction, content_id
from seedbed.curation.redaction.redactor import ROUNDS, Numbering, Redactor
from seedbed.curation.redaction.rules import Rule
from seedbed.errors import SeedbedError
from seedbed.text import quoted

_KEY_BYTES = 32
_MOST_HASHES = 1000
"""The most different secrets that are counted one by one."""
_MOST_SECRETS = 10_000
"""The most different secrets of a unit that are looked for in the samples of what was left out."""
NamesOf = Callable[[Record], Sequence[str]]
"""The names of people that matter in a record, such as the authors of its repository. The same for a record always."""
ONLY_PLACEHOLDER = "middle is only a redaction"


class RedactStep:
    """Replaces secrets and personal data in all texts of a record, its provenance and its links.

    The counts by rule go to the record and to the notes of `drops`, with a keyed hash for each different secret. A record
    to fill in whose middle is nothing but placeholders is left out.
    """

    name = "redact"
    version = 7

    def __init__(self, redactor: Redactor, names_of: NamesOf | None = None) -> None:
        self.redactor = self._redactor = redactor
        self._names_of = names_of
        self._personal = redactor.personal_rules
        self._noted: set[str] = set()
        self._secrets: dict[str, Rule] = {}  # of the records so far; they are never written
        self._known = Numbering()  # the same, looked for in samples

    def __call__(self, records: Iterator[Record], drops: Drops) -> Iterator[Record]:
        """Yield the records, redacted."""
        self._noted, self._secrets, self._known = (
            set(),
            {},
            Numbering(),
        )  # what is done with one unit does not depend on those before it
        for record in records:
            numbering = Numbering()
            self._redact(record, numbering, self._names_of(record) if self._names_of else ())
            self._note(numbering, drops)
            for value, rule in numbering.secrets.items():
                if len(self._secrets) < _MOST_SECRETS:
                    self._secrets[value] = rule
            if record.kind == "fim" and numbering.counts and not numbering.without_placeholders(record.middle or ""):
                where = record.provenance.path or record.provenance.file or record.id
                drops.drop(self.name, ONLY_PLACEHOLDER, where, record.middle or "")
                continue
            yield record

    def mask(self, text: str, names: Sequence[str] = ()) -> str:
        """A sample of what was left out, redacted; secrets of the records that passed are found in it, too."""
        if len(self._known.secrets) < len(self._secrets):
            self._known = Numbering(self._secrets)
        return self._redactor.redact_text(text, names, self._known)

    def _redact(self, record: Record, numbering: Numbering, names: Sequence[str]) -> None:
        for _ in range(ROUNDS):
            self._redact_texts(record, numbering, names)
            if not numbering.settle():
                break
        if record.links is not None:
            record.links = [self._redactor.link(link, numbering) for link in record.links]
        if numbering.counts:
            before = {each.rule: each.count for each in record.redactions or ()}
            for rule, count in numbering.counts.items():
                before[rule] = before.get(rule, 0) + count
            record.redactions = [Redaction(rule=rule, count=count) for rule, count in sorted(before.items())]
            if record.id:
                record.id = content_id(record)

    def _redact_texts(self, record: Record, numbering: Numbering, names: Sequence[str]) -> None:
        def plain(text: str) -> str:
            return self._redactor.redacted(text, numbering, names)

        if record.prefix is not None or record.middle is not None or record.suffix is not None:
            parts = [record.prefix or "", record.middle or "", record.suffix or ""]
            record.prefix, record.middle, record.suffix = self._redactor.redact_parts(parts, numbering, names)
        record.text = plain(record.text) if record.text is not None else None
        if record.context is not None:
            record.context = [ContextFile(path=plain(each.path), text=plain(each.text)) for each in record.context]
        for message in record.messages or ():
            _redact_message(message, plain)
        record.tools = plain(record.tools) if record.tools is not None else None
        source = record.provenance
        for field in ("file", "session", "repository", "path"):
            value = getattr(source, field)
            if value is not None:
                setattr(source, field, plain(value))
        labels = _labels(record)
        if labels and self._redactor.finds("\n".join(labels), numbering, names):  # one look at all is faster
            _replace_labels(record, {label: plain(label) for label in labels})

    def _note(self, numbering: Numbering, drops: Drops) -> None:
        for rule, count in numbering.counts.items():
            drops.note(self.name, rule, count)
        for rule, hashed in numbering.hashes:
            if rule not in self._personal:
                what = f"{rule} {hashed}"
                if what in self._noted or len(self._noted) < _MOST_HASHES:
                    self._noted.add(what)
                    drops.note(self.name, what)


def _redact_message(message: Message, plain: Callable[[str], str]) -> None:
    message.content = plain(message.content)
    message.reasoning = plain(message.reasoning) if message.reasoning is not None else None
    if message.tool_calls is not None:
        message.tool_calls = [
            msgspec.structs.replace(
                call, function=Function(name=call.function.name, arguments=plain(call.function.arguments))
            )
            for call in message.tool_calls
        ]


def _labels(record: Record) -> list[str]:
    """The short texts of a record that a log or a file gives, each once: models and versions, names and ids of calls."""
    source, licence = record.provenance, record.licence
    found = [source.agent, source.model, source.version, source.commit, source.parent]
    found += [licence.spdx, licence.found_in] if licence is not None else []
    for message in record.messages or ():
        found += [message.name, message.tool_call_id]
        for call in message.tool_calls or ():
            found += [call.id, call.function.name]
    return list(dict.fromkeys(filter(None, found)))


def _replace_labels(record: Record, changed: Mapping[str, str]) -> None:
    def new(label: str | None) -> str | None:
        return changed[label] if label else label

    source, licence = record.provenance, record.licence
    for field in ("agent", "model", "version", "commit", "parent"):
        setattr(source, field, new(getattr(source, field)))
    if licence is not None:
        spdx, found_in = changed.get(licence.spdx, licence.spdx), changed.get(licence.found_in, licence.found_in)
        record.licence = Licence(spdx=spdx, found_in=found_in)
    for message in record.messages or ():
        message.name, message.tool_call_id = new(message.name), new(message.tool_call_id)
        for number, call in enumerate(message.tool_calls or ()):
            assert message.tool_calls is not None
            function = Function(
                name=changed.get(call.function.name, call.function.name), arguments=call.function.arguments
            )
            message.tool_calls[number] = msgspec.structs.replace(
                call, id=changed.get(call.id, call.id), function=function
            )


def project_key(path: Path) -> bytes:
    """The secret key in a file, which is made at first use, and which only its owner may read.

    Raises SeedbedError if the file cannot be read or has no key.
    """
    with files.explained(path):
        if not path.exists():
            files.make_dir(path.parent)
            files.write_atomic(path, os.urandom(_KEY_BYTES).hex() + "\n", mode=0o600)
        text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise SeedbedError(
            f"The key of redaction in {quoted(path)} is damaged.",
            "Remove the file; a new key is made. Hashes of secrets then differ from earlier ones.",
        )
    return key
