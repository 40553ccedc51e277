"""The table of roots."""

from __future__ import annotations

import subprocess
import sys

from seedbed.config.keys import keys, tables
from seedbed.config.preset import preset_names
from seedbed.config.roots import ROOTS


def test_every_root_is_listed_by_its_name_and_has_its_default_preset() -> None:
    for name, root in ROOTS.items():
        assert root.name == name
        assert keys(root)
        assert callable(root.rules)
        assert (root.default_preset in preset_names(root)) == bool(root.presets)


def test_a_table_shared_by_roots_has_one_name() -> None:
    named = {(struct, table) for root in ROOTS.values() for table, struct in tables(root).items()}
    assert len({struct for struct, _ in named}) == len(named)


def test_importing_the_roots_does_not_import_the_schema() -> None:
    code = "import sys, seedbed.config.roots; print('msgspec' in sys.modules, 'seedbed.config.schema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
