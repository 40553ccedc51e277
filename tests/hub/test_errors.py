"""Errors of the Hub's client never show a token."""

from __future__ import annotations

from seedbed.hub.errors import without_token

TOKEN = "hf_thisIsASecretToken123"


def test_a_token_in_a_client_error_is_masked() -> None:
    assert TOKEN not in without_token(ValueError(f"bad header Authorization: Bearer {TOKEN} for url?token={TOKEN}"))
