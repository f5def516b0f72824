"""Progress that nobody asked for. Apart from ``context``, which loads torch."""

from typing import Any


def no_progress(fraction: float, message: str, **detail: Any) -> None:
    """Drop progress events: for library use."""
