"""Makes git repositories for tests, with fixed names and times."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


class GitRepository:
    """A repository with a folder of files. Each commit is a minute later than the one before."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self.path = path
        self.minutes = 0
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main", *arguments)

    def git(self, *arguments: str, check: bool = True) -> str:
        """Run git in the repository; its output."""
        time = f"2026-01-02T{self.minutes // 60 % 24:02d}:{self.minutes % 60:02d}:00+00:00"
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *arguments],
            cwd=self.path,
            env={**os.environ, **IDENTITY, "GIT_AUTHOR_DATE": time, "GIT_COMMITTER_DATE": time},
            capture_output=True,
            text=True,
            check=check,
        )
        return done.stdout.strip()

    def write(self, files: dict[str, str | bytes | None]) -> None:
        """Write files; None removes one."""
        for name, content in files.items():
            path = self.path / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, message: str, files: dict[str, str | bytes | None] | None = None, *arguments: str) -> str:
        """Write files and commit all there is; the hash of the commit."""
        self.write(files or {})
        self.minutes += 1
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "--allow-empty-message", "-m", message, *arguments)
        return self.git("rev-parse", "HEAD")

    def remove_object(self, digest: str) -> None:
        """Delete a loose object, as a broken disk would."""
        path = self.path / ".git" / "objects" / digest[:2] / digest[2:]
        path.chmod(0o600)
        path.unlink()
