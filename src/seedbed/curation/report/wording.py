"""Words and estimates that the page and the terminal view of a report card share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHARACTERS_PER_TOKEN = 3.5
"""An estimate for code and English with the vocabularies of current models."""
LEVELS = {
    "links": "sessions, commits, files and shared text",
    "links without files": "sessions, commits and shared text",
    "repository": "whole repositories",
    "time": "sessions, commits, files and shared text; in the largest group, time",
}
"""How groups were made, in words."""
DIMENSIONS = {
    "kind": "Kinds of rows",
    "source": "Sources",
    "repository": "Repositories",
    "language": "Languages",
    "licence": "Licences",
    "model": "Models that wrote the answers",
}
KINDS = {"chat": "conversation", "text": "text", "fim": "gap to fill"}
RULES = {
    "given-name": "name of an author or from redaction.names",
    "author-name": "name beside an address or after author:",
    "user-name": "your login name",
    "host-name": "name of your machine",
    "home-path": "user name in the path of a home folder",
    "project-folder-of-home": "user name in the name of a project's folder",
    "file-owner": "account of a person in a list of files (ls, tar, stat)",
    "process-owner": "account of a person in a list of processes (ps, top, lsof)",
    "account-ids": "account of a person in the output of id",
    "account-file": "account or name of a person in a line of /etc/passwd, group or shadow",
    "login-session": "account of a person at a login (who, whoami, sudo, USER=)",
    "phone-number-labelled": "phone number behind a label such as phone:",
    "value-before-name": "value of a secret before its name",
    "listed-flag": "argument after an option such as --password in a list",
    "json-value": "value of a secret key in JSON",
    "private-key-end": "private key without its beginning",
    "private-key-fragment": "part of a private key",
    "cut-value": "part of a secret that was cut",
    "assignment": "value of a name such as password",
    "comparison": "value that a password is compared with",
}
"""What a rule of redaction finds, where its id does not say that."""
STRATEGIES = {
    "generation": "{% generation %} marks in the template",
    "markers": "markers in place of the texts",
    "prefix": "comparison with the chat before the turn",
}
"""The ways to find the turns of the assistant in a rendered chat."""
LOSSES = {
    "assistant": "the assistant's turns, and all of text and of rows with a gap",
    "targets": "the assistant's turns, what fills a gap, and text",
    "all": "every token",
}
"""What is trained, by the value of data.loss."""
MOST_LEAKED = 0.01
"""The largest share of evaluation answers that may be visible in training rows."""


def pair_text(pair: Mapping[str, Any]) -> str:
    """How much of an evaluation answer training rows show, and which of them shows most, from a pair of the split."""
    share = float(pair.get("share", 0))
    alone = float(pair.get("train_share", share))
    text = f"{share:.0%} of an answer of {pair.get('eval_row', '')} is in "
    if alone < share:
        text += f"training rows, {alone:.0%} in "
    return f"{text}{pair.get('train_row', '')}"


def by_rule(values: Mapping[str, int]) -> dict[str, int]:
    """Counts by what the rules of redaction find, from counts by the ids of rules."""
    found: dict[str, int] = {}
    for rule, count in values.items():
        name = RULES.get(rule, rule)
        found[name] = found.get(name, 0) + count
    return found


def number(values: Mapping[str, Any], name: str) -> int:
    """A count in a mapping that was read from a file; 0 if there is none."""
    value = values.get(name, 0)
    return value if isinstance(value, int) else 0


def leakage_messages(facts: Mapping[str, Any]) -> list[str]:
    """What the split says about its evaluation rows, such as that there are more than wanted."""
    leakage = facts.get("leakage")
    found = leakage.get("messages") if isinstance(leakage, dict) else None
    return [str(each) for each in found] if isinstance(found, list) else []


def mappings(values: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The mappings of a list in a mapping that was read from a file; [] if there are none."""
    value = values.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
