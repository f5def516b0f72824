"""JSON lines between the agent and its runner.

Requests arrive on stdin, which stays open: its end means that the agent is gone, and the runner goes too. Events leave
through a private duplicate of descriptor 1, while descriptor 1 itself is pointed at stderr: vendor libraries print.
"""

import json
import os
import signal
import sys
import threading
from typing import Any, Dict, List, Optional

PROTOCOL = 1
"""Version of the runner protocol, stated in the first event."""

EXIT_FAILED = 3
"""Exit status after a ``failed`` event."""

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


class Channel:
    """The runner's side of the conversation."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._requests: "List[Dict[str, Any]]" = []
        self._arrived = threading.Condition()
        thread = threading.Thread(target=self._read_requests, name="stdin")
        thread.daemon = True
        thread.start()

    def send(self, event: str, **fields: Any) -> None:
        """Write one event."""
        self._out.write(json.dumps(dict(fields, event=event)) + "\n")
        self._out.flush()

    def receive(self) -> "Dict[str, Any]":
        """Wait for the next request of the agent."""
        with self._arrived:
            while not self._requests:
                self._arrived.wait()
            return self._requests.pop(0)

    def enter(self, phase: str, **fields: Any) -> None:
        """Announce a phase and wait until the agent agrees."""
        self.send("phase", phase=phase, **fields)
        self.receive()

    def _read_requests(self) -> None:
        """Runs in its own thread, blocked in a read without the interpreter lock."""
        while True:
            line = sys.stdin.readline()
            if not line:
                os._exit(EXIT_FAILED)  # the agent is gone, and the main thread may sit in a vendor's C function
            with self._arrived:
                self._requests.append(json.loads(line))
                self._arrived.notify()


def die_with_parent(parent_pid: "Optional[int]" = None) -> None:
    """Ask the kernel for SIGKILL at the parent's end, for when a C call holds the interpreter lock at that moment."""
    import ctypes

    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return  # not Linux: the end of stdin remains
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(EXIT_FAILED)
