"""The files of a data directory that belong to a backup: the operator token, keys, and whatever else lies there."""

from collections.abc import Iterator
from pathlib import Path

NOT_SAVED = frozenset({"blobs", "work", "serve.json", "serve.lock"})
"""Saved otherwise (the store's files), or of the running process only."""
NOT_SAVED_PREFIXES = ("edgefleet.db", "engine.db")
"""The store is saved row by row; the engine's tables are made anew from the store's jobs."""
NOT_SAVED_SUFFIXES = (".log", ".lock", ".partial", ".sock")


def files_to_save(data_dir: Path) -> Iterator[tuple[str, Path]]:
    """Relative name and path of each, in order; everything but what is known to be of no use elsewhere."""
    for path in sorted(data_dir.rglob("*")):
        name = path.relative_to(data_dir)
        if not (_is_left_out(name) or path.is_symlink()) and path.is_file():
            yield name.as_posix(), path


def _is_left_out(name: Path) -> bool:
    top = name.parts[0]
    return top in NOT_SAVED or top.startswith(NOT_SAVED_PREFIXES) or name.suffix in NOT_SAVED_SUFFIXES
