"""Whether a board's runtime is new enough for a file; pure."""

import re
from collections.abc import Iterable


def is_new_enough(runtime: str, needed: str | None, found: Iterable[str]) -> bool:
    """Whether one of the versions found of this runtime loads a file that needs this one.

    Only onnxruntime is judged: an Edge TPU's agent names the version of the interpreter, not of the library.
    """
    if needed is None or runtime != "onnxruntime":
        return True
    return any(_release(version) >= _release(needed) for version in found)


def newest(*versions: str | None) -> str | None:
    """The newest of these; None where none is given."""
    return max((version for version in versions if version is not None), key=_release, default=None)


def _release(version: str) -> tuple[int, ...]:
    """1.24.4 or 1.24.0.dev2026 as (1, 24): patches change no file format; what is no version is taken as newest."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return (int(numbers[1]), int(numbers[2])) if numbers is not None else (10**6, 0)
