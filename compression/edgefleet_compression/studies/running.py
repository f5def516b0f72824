"""Carry a study out: units one after the other, those that are finished skipped. Torch-free; executors may not be."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edgefleet_compression.child import Emit
from edgefleet_compression.errors import DataInvalid, StepError, StudyInvalid
from edgefleet_compression.studies.declaration import StudyScale
from edgefleet_compression.studies.progress import no_progress
from edgefleet_compression.studies.records import StudyFolder, UnitRecord
from edgefleet_compression.studies.units import Unit, units_of


class Executor(Protocol):
    """Carries out one unit."""

    def carry_out(self, unit: Unit, folder: StudyFolder) -> UnitRecord:
        """Return what the unit found; the same unit gives the same figures. Raises StepError where it cannot be done.

        The compiled file, and its operator table where there is one, are left in the folder before it returns.
        """


def run_units(
    scale: StudyScale,
    folder: StudyFolder,
    executor: Executor,
    *,
    external: Mapping[str, Mapping[str, Any]],
    emit: Emit = no_progress,
) -> list[UnitRecord]:
    """Return the records of all units, in their order. A unit that fails is recorded with its cause, and the others go on; data that cannot
    be read end the run, since no unit could do without them.

    A run that was killed goes on with the first unit that has no record.
    """
    units = units_of(scale, external)
    for index, unit in enumerate(units):
        if folder.record(unit.key) is None:
            emit(index / len(units), f"{unit.arm.name}, seed {unit.seed}", unit=index, n_units=len(units))
            folder.keep(_carried_out(unit, folder, executor))
    return read_units(units, folder)


def read_units(units: Sequence[Unit], folder: StudyFolder) -> list[UnitRecord]:
    """Return the records that there are, named as their arms are now: two arms that do the same share one record."""
    found = ((unit, folder.record(unit.key)) for unit in units)
    return [record.model_copy(update={"arm": unit.arm.name}) for unit, record in found if record is not None]


def _carried_out(unit: Unit, folder: StudyFolder, executor: Executor) -> UnitRecord:
    began = time.perf_counter()
    try:
        record = executor.carry_out(unit, folder)
    except (DataInvalid, StudyInvalid):
        raise  # what is wrong with the data or the folder is wrong for every unit
    except StepError as error:
        cause = {"code": error.code, "message": error.message}
        record = UnitRecord(key=unit.key, arm=unit.arm.name, seed=unit.seed, error=cause)
    return record.model_copy(update={"cost_s": round(time.perf_counter() - began, 3)})
