"""A live line for a job that runs."""

from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from edgefleet_controller.cli.output import error_console

JsonObject = dict[str, Any]


class JobProgress:
    """Shows the share done, the latest message and the time; on a pipe it prints each new message once."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.fields[state]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=error_console,
            disable=not error_console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, state="queued")
        self._last_message = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, job: JsonObject) -> None:
        """Show a newer version of the job."""
        message = str(job.get("message") or "")
        self._bar.update(self._task, completed=job.get("progress") or 0.0, description=message, state=job["state"])
        if not error_console.is_terminal and message and message != self._last_message:
            share = 100 * (job.get("progress") or 0.0)
            error_console.print(f"[{share:3.0f} %] {message}", markup=False)
        self._last_message = message
