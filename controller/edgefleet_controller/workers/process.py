"""Keeps worker processes of this host running."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from edgefleet_controller.settings import Settings

RESTART_DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STOP_TIMEOUT_S = 10.0

log = logging.getLogger(__name__)


class WorkerProcess:
    """Keeps one worker running; the worker ends when this process does, by the end of its standard input."""

    def __init__(self, settings: Settings, *, name: str, queues: Sequence[str] = ()) -> None:
        self._settings = settings
        self._name = name
        self._queues = queues
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep_running, name=f"supervisor-{name}", daemon=True)

    def start(self) -> None:
        """Start the worker and watch over it."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Tell the worker to end and do not wait for it, so that many can end side by side."""
        self._stopping.set()
        with self._lock:
            if self._process is not None:
                self._process.terminate()

    def stop(self) -> None:
        """End the worker; kill it if it does not end in time."""
        self.ask_to_stop()
        process = self._process
        if process is not None:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                log.warning("the worker did not end within %g s; killing it", STOP_TIMEOUT_S)
                process.kill()
                process.wait()
        self._thread.join()

    def _keep_running(self) -> None:
        n_failures = 0
        while not self._stopping.is_set():
            with self._lock:
                if self._stopping.is_set():
                    return
                self._process = self._spawn()
            status = self._process.wait()
            if self._stopping.is_set():
                return
            delay_s = RESTART_DELAYS_S[min(n_failures, len(RESTART_DELAYS_S) - 1)]
            n_failures += 1
            log.warning("worker %s ended with status %s; starting it again in %g s", self._name, status, delay_s)
            self._stopping.wait(delay_s)

    def _spawn(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"EDGEFLEET_DATA_DIR": str(self._settings.data_dir)}
        if self._settings.database_url:
            environment["EDGEFLEET_DATABASE_URL"] = self._settings.database_url
        command = [sys.executable, "-m", "edgefleet_controller", "worker", "--follow-stdin", "--name", self._name]
        return subprocess.Popen(
            command + (["--queues", ",".join(self._queues)] if self._queues else []),
            stdin=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # a Ctrl-C at the terminal reaches it through stop(), once
        )
