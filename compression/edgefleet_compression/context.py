"""What a pass is given besides its spec and the candidate."""

from dataclasses import dataclass
from typing import Any

from edgefleet_compression.candidate import Candidate
from edgefleet_compression.child import Emit
from edgefleet_compression.data.dataset import DataSet


def no_progress(fraction: float, message: str, **detail: Any) -> None:
    """Drop progress events: for library use."""


@dataclass(frozen=True)
class Context:
    """Data, seed, progress channel and the model the recipe was given (the fixed teacher)."""

    data: DataSet | None
    seed: int
    reference: Candidate | None = None
    emit: Emit = no_progress
