"""The units of a study: every arm with every seed, each with the hash of all that goes into it. Torch-free."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgefleet_compression.errors import StudyInvalid
from edgefleet_compression.studies.declaration import Arm, StudyData, StudyModel, StudyScale

GENERATION: Final = 1
"""Raised when a change of the engine or of executors makes kept records wrong."""


@dataclass(frozen=True)
class Unit:
    """One arm with one seed. The data set has a specification, also where the declaration leaves it to the start."""

    arm: Arm
    model: StudyModel
    data: StudyData
    seed: int

    @property
    def key(self) -> str:
        """sha256 of what its figures depend on; names, roles and factors are no part of it."""
        document = {
            "generation": GENERATION,
            "model": self.model.model_dump(mode="json", exclude={"name", "data"}),
            "data": self.data.model_dump(mode="json", exclude={"name"}),
            "recipe": self.arm.recipe.model_dump(mode="json", exclude={"name", "seed"}),
            "target": self.arm.target,
            "start": self.arm.start,
            "train_share": self.arm.train_share,
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def units_of(scale: StudyScale, external: Mapping[str, Mapping[str, Any]]) -> tuple[Unit, ...]:
    """Return the units, all arms of the first seed first, so that what a stopped study has is balanced.

    external: data set specification for every name the scale leaves open. Raises StudyInvalid ``study_data_missing``.
    """
    missing = [name for name in scale.external_data if name not in external]
    if missing:
        raise StudyInvalid(
            f"The {scale.name} scale needs the data set {missing[0]}, which does not come with edgefleet: give its "
            f"specification with --data {missing[0]}=FILE.json.",
            code="study_data_missing",
            detail={"missing": missing},
        )
    seeds = sorted({seed for arm in scale.arms for seed in scale.seeds_of(arm)})
    return tuple(
        Unit(arm, scale.model(arm.model), _specified(scale.data_of(arm.model), external), seed)
        for seed in seeds
        for arm in scale.arms
        if seed in scale.seeds_of(arm)
    )


def _specified(data: StudyData, external: Mapping[str, Mapping[str, Any]]) -> StudyData:
    return data if data.spec is not None else data.model_copy(update={"spec": dict(external[data.name])})
