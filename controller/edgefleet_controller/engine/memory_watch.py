"""Ends a step that takes more memory than it may.

Why not the kernel's own limits: RLIMIT_AS counts what a process reserves, and torch with its threads reserves many times
what it uses; a memory cgroup needs a hierarchy that a worker may write to, which most have not. So the worker looks at
what is resident. A step that allocates faster than the looks come may pass the limit for a moment; children offer
themselves to the kernel first (``oom_score_adj``), so that even then the step ends and not the worker or the database.
"""

import contextlib
import os
import re
import signal
import threading
from pathlib import Path
from types import TracebackType

import psutil

LOOK_S = 0.25
"""Interval of the looks: at 4 GB/s, what one core writes, a step passes its limit by 1 GB."""

DEFAULT_SHARE = 0.8
"""Of the host's memory: a step that needs more would drive the worker, or its neighbours, out."""

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_PROPORTIONAL = re.compile(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)


def default_limit_bytes() -> int:
    """What a step may use where nobody set it: a share of the memory of this host, or of this container."""
    total = int(psutil.virtual_memory().total)
    with contextlib.suppress(OSError, ValueError):  # no cgroup v2, or "max"
        total = min(total, int(_CGROUP_LIMIT.read_text()))
    return int(DEFAULT_SHARE * total)


def used_bytes(session_id: int, enough_bytes: int = 0) -> int:
    """Memory that the processes of a session hold together, pages that they share counted once; 0 where /proc is missing.

    Files that are only mapped do not count, for the kernel can take them back. That takes a walk through the page tables,
    so up to ``enough_bytes`` of resident memory the cheaper and never smaller sum of the resident sizes is returned.
    """
    processes = _processes_of(session_id)
    resident = sum(_resident_bytes(pid) for pid in processes)
    return resident if resident <= enough_bytes else sum(_proportional_bytes(pid) for pid in processes)


def _processes_of(session_id: int) -> list[int]:
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:  # noqa: PTH208, PTH112  # a Path for each costs more than the look
        with contextlib.suppress(ValueError, ProcessLookupError, PermissionError):
            if os.getsid(int(name)) == session_id:
                found.append(int(name))
    return found


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _proportional_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):  # it ended meanwhile
        found = _PROPORTIONAL.findall(Path(f"/proc/{pid}/smaps_rollup").read_text())
        return 1024 * sum(map(int, found)) if found else _resident_bytes(pid)
    return 0


class MemoryWatch:
    """Looks at a session's memory until it is left, and kills the session when that is too much."""

    def __init__(self, session_id: int, limit_bytes: int | None) -> None:
        self._session_id, self._limit_bytes = session_id, limit_bytes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"memory of {session_id}", daemon=True)
        self.exceeded_bytes: int | None = None
        """what was in use when it was ended; None: it was not"""

    def __enter__(self) -> "MemoryWatch":
        if self._limit_bytes is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._limit_bytes is not None:
            self._thread.join()

    def _watch(self) -> None:
        limit_bytes = self._limit_bytes
        assert limit_bytes is not None
        while True:
            used = used_bytes(self._session_id, enough_bytes=limit_bytes)
            if used > limit_bytes:
                self.exceeded_bytes = used
                for pid in _processes_of(self._session_id):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
                return
            if self._stop.wait(LOOK_S):
                return
