"""One controller, or one command that needs the store for itself, works on a data directory at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgefleet_controller.store.errors import StoreInUse

LOCK_FILE = "serve.lock"


@contextmanager
def data_dir_to_itself(data_dir: Path) -> Iterator[None]:
    """Hold the data directory; StoreInUse while a controller serves from it or another command holds it."""
    with (data_dir / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreInUse(f"a controller serves from {data_dir}; stop it first") from None
        yield
