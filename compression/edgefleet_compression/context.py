"""What a pass is given besides its spec and the candidate."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgefleet_compression.candidate import Candidate
from edgefleet_compression.checkpoints import CheckpointFolder
from edgefleet_compression.child import Emit
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.training.compute import Compute


def no_progress(fraction: float, message: str, **detail: Any) -> None:
    """Drop progress events: for library use."""


CHECKPOINT_EVERY_STEPS: Final = 200
"""Seconds to a minute of training on a CPU."""


@dataclass(frozen=True)
class Context:
    """Data, seed, progress channel and the model the recipe was given (the fixed teacher).

    checkpoint_dir: where trainings keep what a restart with the same spec goes on from, every epoch and every
    ``checkpoint_every_steps``; None: nowhere. The caller removes it.
    """

    data: DataSet | None
    seed: int
    reference: Candidate | None = None
    emit: Emit = no_progress
    checkpoint_dir: Path | None = None
    checkpoint_every_steps: int = CHECKPOINT_EVERY_STEPS
    compute: Compute = field(default_factory=Compute)

    @property
    def checkpoints(self) -> CheckpointFolder | None:
        """The folder of this pass's checkpoints."""
        if self.checkpoint_dir is None:
            return None
        return CheckpointFolder(self.checkpoint_dir, self.checkpoint_every_steps)
