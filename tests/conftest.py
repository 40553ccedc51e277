"""Fixtures that every room's tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real text that SEEDBED_TEST_DATA names, or a skip with the reason."""
    named = os.environ.get("SEEDBED_TEST_DATA", "")
    if not named:
        pytest.skip("SEEDBED_TEST_DATA is not set: it names a folder with tinyshakespeare.txt and wikitext-2/valid.txt")
    folder = Path(named).resolve()
    if not folder.is_dir():
        pytest.skip(f"SEEDBED_TEST_DATA names {folder}, which is not a folder")
    return folder
