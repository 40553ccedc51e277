"""Say where prepared data, compiled kernels and the user's facts are, and check whether the caches can be used."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from seedbed.config.environment import env, set_env
from seedbed.errors import SeedbedError, StorageError, UsageError
from seedbed.text import quoted

RECORDS_CACHE, RECORDS_LOCK = "records", "in-use"
"""The folder in the cache with what `seedbed prepare` has finished of its inputs, and the file in it that users lock."""
CACHE_HINT = "Set SEEDBED_CACHE to a writable folder, for example: export SEEDBED_CACHE=/tmp/seedbed-cache"


def cache_dir() -> Path:
    """The folder for prepared data and compiled kernels: SEEDBED_CACHE, or the platform's user cache. Absolute.

    Raises SeedbedError if there is neither: in a container the user may have no home directory.
    """
    named = env("SEEDBED_CACHE")
    if named:
        from seedbed.files import expand_home

        return expand_home(named).absolute()
    import platformdirs

    try:
        found = Path(platformdirs.user_cache_dir("seedbed", appauthor=False))
    except RuntimeError:
        found = Path()
    if not found.is_absolute():  # older versions of platformdirs do not replace the ~
        raise SeedbedError(
            "There is no folder for prepared data: HOME is not set, and the system has no home directory for user"
            f" {os.getuid()}.",
            CACHE_HINT,
        )
    return found


def facts_dir() -> Path | None:
    """The folder with the user's own facts about GPUs, models and networks: SEEDBED_FACTS, or in the user's config folder.

    The one in the user's config folder need not exist. None if there is neither: in a container the user may have no home
    directory. Raises UsageError if SEEDBED_FACTS names no folder.
    """
    named = env("SEEDBED_FACTS")
    if named:
        from seedbed.files import expand_home

        folder = expand_home(named).absolute()
        if not folder.is_dir():
            what = "a file, not a folder" if folder.exists() else "a folder that does not exist"
            raise UsageError(
                f"SEEDBED_FACTS names {what}: {quoted(folder)}.", "Name your folder of facts, or unset it."
            )
        return folder
    config, home = env("XDG_CONFIG_HOME"), env("HOME")
    if sys.platform == "linux" and (config.startswith("/") or home.startswith("/")):
        # As platformdirs does, whose import takes longer than all of a plan's own work.
        return Path(config if config.startswith("/") else f"{home}/.config", "seedbed", "facts")
    import platformdirs

    try:
        found = Path(platformdirs.user_config_dir("seedbed", appauthor=False))
    except RuntimeError:
        return None
    return found / "facts" if found.is_absolute() else None


def refuse_unusable_cache() -> None:
    """Raise SeedbedError if prepared data cannot be stored: no home directory, no write permission, or no file locks.

    A cache that contains prepared data may be read-only. The job (process) of a run then checks whether its data is there.
    """
    from seedbed.disk_space import obstacle
    from seedbed.files import make_dir
    from seedbed.locks import refuse_without_locks

    cache = cache_dir()
    trouble = None
    try:
        make_dir(cache)
    except StorageError as error:
        trouble = error
    trouble = trouble or obstacle(cache, 0)
    if trouble is not None and not trouble.passing and not (cache / "datasets").is_dir():
        raise SeedbedError(f"Prepared data cannot be stored in {quoted(cache)}: {trouble.reason}.", CACHE_HINT)
    if trouble is None:
        refuse_without_locks(cache, CACHE_HINT)


def compiled_dir() -> Path:
    """The folder for compiled kernels: TORCHINDUCTOR_CACHE_DIR, or `compiled` in the cache folder. Absolute."""
    named = env("TORCHINDUCTOR_CACHE_DIR")
    return Path(named).absolute() if named else cache_dir() / "compiled"


def keep_compiled() -> None:
    """Make torch store compiled kernels in `compiled_dir`, not in the folder in /tmp that all programs share.

    Call this before torch compiles anything. Does nothing if there is no cache folder.
    """
    with suppress(SeedbedError):
        set_env("TORCHINDUCTOR_CACHE_DIR", str(compiled_dir()))
