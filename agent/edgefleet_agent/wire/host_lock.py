"""Keeps a host from compressing and measuring at the same time.

Both sides of a host agree on two lock files: ``gate`` is passed one at a time and in turn, ``room`` is held shared by
those who compute and exclusively by the one who measures. Whoever waits for the room keeps the gate, so a stream of
computing steps cannot starve a measurement. The kernel releases a lock when its holder dies (flock(2)).
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Optional

POLL_S = 0.05


class HostLockTimeout(TimeoutError):
    """The host stayed busy for longer than allowed; stop what computes on it or raise the limit."""


def default_lock_directory() -> Path:
    """``$EDGEFLEET_HOST_LOCK``, else a folder all users of the host share."""
    return Path(os.environ.get("EDGEFLEET_HOST_LOCK") or Path(tempfile.gettempdir()) / "edgefleet-host-lock")


@contextmanager
def hold_for_compute(directory: Optional[Path] = None, **waiting: object) -> Iterator[None]:
    """Hold the host together with other computing steps, never beside a measurement."""
    with _hold(directory, fcntl.LOCK_SH, **waiting):  # type: ignore[arg-type]
        yield


@contextmanager
def hold_for_measurement(directory: Optional[Path] = None, **waiting: object) -> Iterator[None]:
    """Hold the host alone."""
    with _hold(directory, fcntl.LOCK_EX, **waiting):  # type: ignore[arg-type]
        yield


@contextmanager
def _hold(
    directory: Optional[Path],
    mode: int,
    timeout_s: Optional[float] = None,
    on_wait: Optional[Callable[[float], None]] = None,
) -> Iterator[None]:
    folder = directory or default_lock_directory()
    _make_shared(folder)
    gate, room = _open(folder / "gate"), _open(folder / "room")
    started = time.monotonic()
    try:
        _acquire(gate, fcntl.LOCK_EX, started, timeout_s, on_wait)
        try:
            _acquire(room, mode, started, timeout_s, on_wait)
        finally:
            fcntl.flock(gate, fcntl.LOCK_UN)
        yield
    finally:
        os.close(room)
        os.close(gate)


def _open(path: Path) -> int:
    """The lock's file, which every user of the host may open; flock(2) asks for no right to write."""
    return os.open(str(path), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _make_shared(folder: Path) -> None:
    """Make the folder so that other users of the host can add their lock files, as in /tmp."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    folder.chmod(0o1777)


def _acquire(
    descriptor: int,
    mode: int,
    started: float,
    timeout_s: Optional[float],
    on_wait: Optional[Callable[[float], None]],
) -> None:
    """Poll for the lock; ``on_wait`` is called with the seconds waited (it may raise to give up)."""
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - started
            if timeout_s is not None and waited >= timeout_s:
                raise HostLockTimeout("the host was busy for {:.1f} s".format(waited)) from None
            if on_wait is not None:
                on_wait(waited)
            time.sleep(POLL_S)
        else:
            return
