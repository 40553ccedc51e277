"""Words of the report card."""

from __future__ import annotations

from seedbed.curation.redaction.redactor import RedactionOptions, Redactor
from seedbed.curation.redaction.rules import rule_table
from seedbed.curation.report.wording import RULES, by_rule


def test_rules_are_shown_as_what_they_find() -> None:
    options = RedactionOptions(names=("Marta Vogelsang",), user="q7xk", host="mill3")
    counts = Redactor(b"k" * 32, options).redact("Marta Vogelsang, q7xk on mill3, m@vogelsang.org").counts
    shown = by_rule(counts)
    assert {"name of an author or from redaction.names", "your login name", "name of your machine", "e-mail"} <= set(
        shown
    )
    assert set(RULES) - {rule.id for rule in rule_table()} == {"given-name", "user-name", "host-name", "json-value"}
