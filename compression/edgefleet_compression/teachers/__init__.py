"""Teachers: where the targets of distillation come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from torch import Tensor, nn

from edgefleet_compression.passes.specs import Distill, TeacherName
from edgefleet_compression.teachers.fixed import FixedTeacher
from edgefleet_compression.teachers.self_teachers import BestCheckpointTeacher, EnsembleTeacher, MovingAverageTeacher
from edgefleet_compression.teachers.teacher import Teacher

__all__ = ["TEACHERS", "Classroom", "Teacher", "make_teacher"]


@dataclass(frozen=True)
class Classroom:
    """What teachers are made of.

    reference: the network the recipe was given. samples: all training samples if batches are taken from them unchanged,
    else None. train_larger: trains a wider network of the candidate's family.
    """

    reference: nn.Module
    samples: Tensor | None
    train_larger: Callable[[], nn.Module]


TEACHERS: Final[Mapping[TeacherName, Callable[[Distill, Classroom], Teacher]]] = MappingProxyType(
    {
        "fixed": lambda _, room: FixedTeacher(room.reference, samples=room.samples),
        "larger": lambda _, room: FixedTeacher(room.train_larger(), samples=room.samples),
        "ema": lambda spec, _: MovingAverageTeacher(spec.ema_decay),
        "best_validation": lambda spec, _: BestCheckpointTeacher(spec.refresh_epochs),
        "ensemble": lambda spec, _: EnsembleTeacher(spec.refresh_epochs, spec.n_checkpoints),
    }
)
"""Teacher by the name it has in a spec."""


def make_teacher(spec: Distill, room: Classroom) -> Teacher:
    """Return the teacher that a spec names."""
    assert spec.teacher is not None
    return TEACHERS[spec.teacher](spec, room)
