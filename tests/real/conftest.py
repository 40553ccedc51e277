"""The real tokenizers, each loaded once by Seedbed and by transformers."""

from __future__ import annotations

import pytest

from real.loading import FOLDERS, Real, load


@pytest.fixture(scope="session", params=FOLDERS)
def real(request: pytest.FixtureRequest) -> Real:
    return load(request.param)
