"""The seven studies by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from edgefleet_compression.errors import StudyInvalid
from edgefleet_compression.studies import (
    data_free,
    early_pruning,
    hardware_aware,
    scaling,
    sequential_or_joint,
    single_techniques,
    vision_and_text,
)
from edgefleet_compression.studies.declaration import StudyDeclaration

_MODULES: Final = (
    single_techniques,
    sequential_or_joint,
    early_pruning,
    data_free,
    vision_and_text,
    hardware_aware,
    scaling,
)
STUDIES: Final[Mapping[str, StudyDeclaration]] = MappingProxyType(
    {module.STUDY.name: module.STUDY for module in _MODULES}
)
"""In the order of their numbers."""


def find_study(name: str) -> StudyDeclaration:
    """Return the study of this name or number, or raise StudyInvalid ``study_unknown``."""
    by_number = {str(study.number): study for study in STUDIES.values()}
    found = STUDIES.get(name) or by_number.get(name)
    if found is None:
        raise StudyInvalid(
            f"There is no study {name!r}; the studies are {', '.join(STUDIES)}.",
            code="study_unknown",
            detail={"known": list(STUDIES)},
        )
    return found
