"""A small study and an executor that needs no torch: its figures follow from the unit alone."""

from dataclasses import dataclass, field

from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.specs import Quantize, StructuredPrune
from edgefleet_compression.studies.building import arm
from edgefleet_compression.studies.claims import Chosen, Comparison, DifferenceClaim
from edgefleet_compression.studies.declaration import StudyData, StudyDeclaration, StudyModel, StudyScale
from edgefleet_compression.studies.records import FileFigures, StudyFolder, UnitRecord
from edgefleet_compression.studies.units import Unit

SEEDS = (0, 1, 2, 3, 4, 5)


def small_study(*, external: bool = False, supported_from: float = 5.0) -> StudyDeclaration:
    """Return a study of two arms: one keeps about 95 of 100, the other about 80."""
    return StudyDeclaration(
        name="example",
        number=99,
        title="An example",
        question="Which arm keeps more?",
        hypothesis="The first is 5 points ahead.",
        falsified_if="it is less than 3 points ahead",
        analysis=("Paired over seeds.",),
        scales=(
            StudyScale(
                name="small",
                data=(StudyData(name="digits", spec=None if external else {"kind": "packaged", "name": "digits"}),),
                models=(StudyModel(name="resnet", architecture="resnet", data="digits", epochs=1),),
                arms=(
                    arm("int8", Quantize(), factors={"level": 0.95}),
                    arm("narrow", StructuredPrune(amount=0.5), factors={"level": 0.80}),
                ),
                seeds=SEEDS,
                claims=(
                    DifferenceClaim(
                        name="ahead",
                        a=Chosen(arms=("int8",)),
                        b=Chosen(arms=("narrow",)),
                        metric="accuracy",
                        supported_from=supported_from,
                        falsified_below=3.0,
                    ),
                ),
                comparisons=(Comparison(family="all", a="int8", b="narrow"),),
                expected="no time",
            ),
        ),
    )


@dataclass
class CountingExecutor:
    """Gives every unit its level with a small scatter by seed; stops or fails where it is told to."""

    stop_after: int | None = None
    refused: tuple[str, ...] = ()
    shift: float = 0.0
    done: list[tuple[str, int]] = field(default_factory=list)

    def carry_out(self, unit: Unit, folder: StudyFolder) -> UnitRecord:
        if self.stop_after is not None and len(self.done) >= self.stop_after:
            raise KeyboardInterrupt
        self.done.append((unit.arm.name, unit.seed))
        if unit.arm.name in self.refused:
            raise PassRefused("This pass cannot work here.", code="nothing_to_prune")
        level = float(unit.arm.factors["level"]) + (0.004 * unit.seed if unit.arm.name == "int8" else 0.0)
        return UnitRecord(
            key=unit.key,
            arm=unit.arm.name,
            seed=unit.seed,
            figures=_figures(level + self.shift, unit.key, 1000),
            baseline=_figures(0.98, "b" * 64, 4000),
            chance=0.1,
            data_sha256="d" * 64,
        )


def _figures(accuracy: float, sha256: str, size_bytes: int) -> FileFigures:
    return FileFigures(
        accuracy=accuracy,
        accuracy_validation=accuracy,
        f1_macro=accuracy,
        n_test=100,
        size_bytes=size_bytes,
        gzip_bytes=size_bytes // 2,
        sha256=sha256,
        macs=10 * size_bytes,
        n_parameters=size_bytes // 4,
        sparsity=0.0,
    )
