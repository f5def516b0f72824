"""Teachers: where the targets of distillation come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from torch import Tensor, nn

from edgefleet_compression.passes.specs import Distill, TeacherName
from edgefleet_compression.teachers.fixed import FixedTeacher
from edgefleet_compression.teachers.same_class import SameClassTeacher
from edgefleet_compression.teachers.self_teachers import BestCheckpointTeacher, EnsembleTeacher, MovingAverageTeacher
from edgefleet_compression.teachers.teacher import Teacher
from edgefleet_compression.training.compute import Compute

__all__ = ["TEACHERS", "Classroom", "Teacher", "make_teacher"]


@dataclass(frozen=True)
class Classroom:
    """What teachers are made of.

    reference: the network the recipe was given. samples, labels: the training split. samples_recur: True if the
    training sees them unchanged and more than once. seed: of a teacher's own choices. compute: the training's device and
    arithmetic. train_larger: trains a wider network of the family.
    """

    reference: nn.Module
    samples: Tensor
    labels: Tensor
    samples_recur: bool
    seed: int
    compute: Compute
    train_larger: Callable[[], nn.Module]


def _unchanging(model: nn.Module, room: Classroom) -> Teacher:
    return FixedTeacher(model, samples=room.samples if room.samples_recur else None, compute=room.compute)


TEACHERS: Final[Mapping[TeacherName, Callable[[Distill, Classroom], Teacher]]] = MappingProxyType(
    {
        "fixed": lambda _, room: _unchanging(room.reference, room),
        "larger": lambda _, room: _unchanging(room.train_larger(), room),
        "same_class": lambda _, room: SameClassTeacher(room.samples, room.labels, seed=room.seed),
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
