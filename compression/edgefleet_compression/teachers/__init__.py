"""Teachers: where the soft targets of distillation come from."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from torch import Tensor, nn

from edgefleet_compression.passes.specs import TeacherName
from edgefleet_compression.teachers.fixed import FixedTeacher


class Teacher(Protocol):
    """Gives logits for training samples."""

    def logits(self, indices: Tensor) -> Tensor:
        """Return logits (n, n_classes) of the training samples at these indices."""


TEACHERS: Final[Mapping[TeacherName, Callable[[nn.Module, Tensor], Teacher]]] = MappingProxyType(
    {"fixed": FixedTeacher}
)
"""Teacher by the name it has in a spec: factory(network the recipe was given, training samples)."""
