"""Names of keys in other programs."""

from __future__ import annotations

from seedbed.config.keys import keys
from seedbed.config.roots import ROOTS
from seedbed.config.synonyms import OTHER_UNITS, SYNONYMS


def test_every_synonym_names_a_key_and_is_not_a_key_itself() -> None:
    known = {path: key.name for root in ROOTS.values() for path, key in keys(root).items()}
    assert {path for paths in SYNONYMS.values() for path in paths} <= set(known)
    assert not set(SYNONYMS) & set(known.values())
    assert set(known) >= OTHER_UNITS
