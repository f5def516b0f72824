"""How a worker learns that whoever started it is gone."""

import os
import threading


def set_at_end_of_stdin(stop: threading.Event) -> None:
    """Wait for the end of standard input and set ``stop``: the parent holds the other end of the pipe; its end is its death."""
    while os.read(0, 4096):  # not sys.stdin: its lock, held by this thread, would break the interpreter's exit
        continue
    stop.set()
