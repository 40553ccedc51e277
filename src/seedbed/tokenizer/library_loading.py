"""Load a tokenizer.json with the tokenizers library, in a process of its own, because front ends do not import the library.

`python -P -m seedbed.tokenizer.library_loading FILE` writes why the library cannot load the file to stdout, as JSON, or nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tokenizers


def main(path: str) -> int:
    """Load the file; returns the exit status: 0, or 1 if the library cannot load it."""
    try:
        tokenizers.Tokenizer.from_str(Path(path).read_bytes().decode("utf-8-sig"))
    except Exception as error:  # the library raises bare Exception
        sys.stdout.write(json.dumps(str(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
