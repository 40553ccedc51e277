"""Builds texts from the templates of the rule table, so that no file has a string that a scanner would report."""

from __future__ import annotations

import base64
import random
import re
import string

_LETTERS = string.ascii_letters + string.digits
_ALPHABETS = {
    "A": _LETTERS,
    "U": string.ascii_uppercase + string.digits,
    "L": string.ascii_lowercase + string.digits,
    "H": "0123456789abcdef",
    "D": string.digits,
    "B": _LETTERS + "+/",
    "W": _LETTERS + "_-",
    "X": string.ascii_uppercase + "234567",
    "Y": string.ascii_uppercase,
    "Q": "123456789",
}


def filled(template: str, seed: object = 0) -> str:
    """The template with random characters in place of {A*36} and the like, and what {64:...} and {76:...} have in base64.

    That of {76:...} is in lines of 76 characters.
    """
    rng = random.Random(repr((template, seed)))
    text = template.replace("{JWT}", ".".join((_base64(b'{"alg":"HS256","typ":"JWT"}'), _base64(b'{"sub":"q17"}'))))
    text = re.sub(
        r"\{([AULHDBWXYQ])\*(\d+)\}",
        lambda match: "".join(rng.choice(_ALPHABETS[match[1]]) for _ in range(int(match[2]))),
        text,
    )
    text = re.sub(r"\{64:([^{}]*)\}", lambda match: base64.b64encode(match[1].encode()).decode(), text)
    return re.sub(r"\{76:([^{}]*)\}", lambda match: base64.encodebytes(match[1].encode()).decode(), text)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
