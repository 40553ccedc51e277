"""Redaction against detect-secrets: finding secrets in the same files, one after the other on one core, in one run.

Both read every file again. detect-secrets scans files with its default plugins and filters, as its command line does.
Seedbed is measured twice: with the rules for secrets, and with all rules and the replacement of what they find.

    python benchmarks/redaction.py                        # CPython's standard library
    python benchmarks/redaction.py FOLDER --megabytes 20
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

GOAL = 50
FALSE_PER_MB = 5
_SUFFIXES = (
    ".py",
    ".js",
    ".ts",
    ".go",
    ".rs",
    ".java",
    ".c",
    ".h",
    ".cc",
    ".cpp",
    ".rb",
    ".sh",
    ".md",
    ".rst",
    ".txt",
    ".json",
    ".yml",
    ".yaml",
    ".toml",
)


def chosen(folder: Path, megabytes: float) -> list[Path]:
    """Files of the folder, spread over it, of about so many megabytes in all."""
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in _SUFFIXES and path.is_file() and not {"site-packages", ".git"} & set(path.parts)
    )
    step = max(1, int(sum(path.stat().st_size for path in paths) / 1e6 / megabytes))
    return paths[::step]


def timed(work: Callable[[], Counter[str]]) -> tuple[float, Counter[str]]:
    """Seconds of the processor, and the finds by kind."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def by_detect_secrets(paths: list[Path]) -> Counter[str]:
    """Finds of detect-secrets by its kinds."""
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import default_settings

    found: Counter[str] = Counter()
    secrets = SecretsCollection()
    with default_settings():
        for path in paths:
            secrets.scan_file(str(path))
    for _, secret in secrets:
        found[secret.type] += 1
    return found


def by_seedbed(paths: list[Path], personal: bool) -> Counter[str]:
    """Finds of Seedbed by rule; the texts are redacted, too."""
    from seedbed.curation.redaction.redactor import RedactionOptions, Redactor

    redactor = Redactor(bytes(32), RedactionOptions(personal=personal))
    found: Counter[str] = Counter()
    for path in paths:
        found.update(redactor.redact(path.read_text(encoding="utf-8", errors="replace")).counts)
    return found


def main() -> int:
    """Measure, print, and return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_paths()["stdlib"]))
    parser.add_argument("--megabytes", type=float, default=8)
    options = parser.parse_args()
    paths = chosen(options.folder, options.megabytes)
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    by_seedbed(paths[:3], True)  # imports
    first, secrets = timed(lambda: by_seedbed(paths, False))
    peer, theirs = timed(lambda: by_detect_secrets(paths))
    again, _ = timed(lambda: by_seedbed(paths, False))
    everything, both = timed(lambda: by_seedbed(paths, True))
    print(f"{len(paths)} files, {megabytes:.1f} MB")
    print(f"detect-secrets  {peer:8.2f} s  {megabytes / peer:7.2f} MB/s  {dict(theirs)}")
    print(f"secrets         {first:8.2f} s  {megabytes / first:7.1f} MB/s  {dict(secrets)}")
    print(f"secrets again   {again:8.2f} s  {megabytes / again:7.1f} MB/s")
    print(f"all rules       {everything:8.2f} s  {megabytes / everything:7.1f} MB/s  {dict(both)}")
    ratio = peer / max(first, again)
    per_megabyte = secrets.total() / megabytes
    print(f"{ratio:.0f} times as fast (goal {GOAL}), with all rules {peer / everything:.0f} times")
    print(f"{per_megabyte:.2f} finds of secrets per MB (goal for false ones: {FALSE_PER_MB}; look at each)")
    return int(ratio < GOAL or per_megabyte > FALSE_PER_MB)


if __name__ == "__main__":
    sys.exit(main())
