"""Picks by latency and by counting; scaling laws over units; samples of a seed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from tests.unit.compression.studies.study_examples import SEEDS, small_study

from edgefleet_compression.errors import DataInvalid
from edgefleet_compression.studies.claims import FitClaim, SpeedClaim
from edgefleet_compression.studies.declaration import ConstraintSet, StudyData, StudyScale
from edgefleet_compression.studies.evaluation import evaluate_claim
from edgefleet_compression.studies.records import FileFigures, StudyFolder, Timing, UnitRecord
from edgefleet_compression.studies.samples import chance_of, samples_of, with_share
from edgefleet_compression.studies.timing import THIS_HOST, medians, pick, time_all

PI = "simulated-raspberry-pi-4"


def unit(arm: str, seed: int, *, accuracy: float, size_bytes: int, macs: int) -> UnitRecord:
    def figures(share: float, own_bytes: int, own_macs: int, sha256: str) -> FileFigures:
        return FileFigures(
            accuracy=share,
            accuracy_validation=share,
            f1_macro=share,
            n_test=1000,
            size_bytes=own_bytes,
            gzip_bytes=own_bytes,
            sha256=sha256,
            macs=own_macs,
            n_parameters=own_bytes // 4,
            sparsity=0.0,
        )

    return UnitRecord(
        key=f"{seed:064x}",
        arm=arm,
        seed=seed,
        figures=figures(accuracy, size_bytes, macs, f"{arm}-{seed}"),
        baseline=figures(1.0, 16_000, 1600, "base"),
        chance=0.1,
        data_sha256="d",
    )


def arms(**kept: "tuple[float, int, int]") -> "list[UnitRecord]":
    return [
        unit(name.replace("_", "-"), seed, accuracy=accuracy, size_bytes=size_bytes, macs=macs)
        for seed in SEEDS
        for name, (accuracy, size_bytes, macs) in kept.items()
    ]


def speed_claim(board: str, *names: str) -> SpeedClaim:
    return SpeedClaim(name="speed", board=board, arms=names, floor=0.95, supported_from=2.0, falsified_below=1.5)


CANDIDATES = arms(int8=(0.97, 4000, 1600), tiny=(0.98, 2000, 400), poor=(0.5, 100, 10))
NAMES = ("int8", "tiny", "poor")


def latencies(records: "Sequence[UnitRecord]", board: str, **p50_ms: float) -> "list[Timing]":
    return [
        Timing(sha256=item.figures.sha256, board=board, provenance="simulated", p50_ms=p50_ms[item.arm])
        for item in records
        if item.figures is not None and item.arm in p50_ms
    ]


def test_aware_takes_the_fastest_and_agnostic_the_fewest_operations_of_those_that_keep_the_accuracy() -> None:
    timings = latencies(CANDIDATES, PI, int8=1.0, tiny=3.0, poor=0.1)
    assert pick(speed_claim(PI, *NAMES), CANDIDATES, medians(timings)) == ("int8", "tiny")


def test_what_does_not_run_on_the_board_is_no_candidate() -> None:
    timings = latencies(CANDIDATES, PI, tiny=3.0, poor=0.1)
    assert pick(speed_claim(PI, *NAMES), CANDIDATES, medians(timings)) == ("tiny", "tiny")
    assert pick(speed_claim(PI, *NAMES), CANDIDATES, {}) is None


def test_simulated_ratio_is_widened_by_what_the_simulation_may_be_off() -> None:
    """3 ms over 1 ms in every seed: 3, between 3 / 1.3 and 3 * 1.3."""
    by_arm = {name: [item for item in CANDIDATES if item.arm == name] for name in NAMES}
    result = evaluate_claim(speed_claim(PI, *NAMES), by_arm, latencies(CANDIDATES, PI, int8=1.0, tiny=3.0, poor=0.1))
    assert result.interval is not None
    assert result.interval.value == pytest.approx(3.0)
    assert result.interval.low == pytest.approx(3 / 1.3)
    assert result.verdict == "supported"
    assert "SIMULATED" in result.note


def test_one_pick_for_both_rules_is_a_ratio_of_one() -> None:
    by_arm = {name: [item for item in CANDIDATES if item.arm == name] for name in NAMES}
    result = evaluate_claim(speed_claim(PI, *NAMES), by_arm, latencies(CANDIDATES, PI, int8=5.0, tiny=3.0))
    assert result.interval is not None
    assert result.interval.value == 1.0
    assert result.verdict == "falsified"


@dataclass
class FixedStopwatch:
    """Says what it was told; counts how often it was asked."""

    p50_ms: "dict[str, float]"
    asked: "list[str]" = field(default_factory=list)

    def time(self, record: UnitRecord, board: str, folder: StudyFolder) -> Timing:
        assert record.figures is not None
        self.asked.append(f"{record.arm} on {board}")
        return Timing(sha256=record.figures.sha256, board=board, provenance="measured", p50_ms=self.p50_ms[record.arm])

    def compare(self, a: UnitRecord, b: UnitRecord, board: str, folder: StudyFolder) -> Timing:
        assert a.figures is not None
        assert b.figures is not None
        self.asked.append(f"{a.arm} and {b.arm} in turns")
        return Timing(
            sha256=b.figures.sha256,
            against=a.figures.sha256,
            board=board,
            provenance="measured",
            ratio=1.4 + 0.01 * b.seed,
        )


def timed_scale() -> StudyScale:
    scale = small_study().scale("small")
    changed = {"boards": (THIS_HOST,), "claims": (speed_claim(THIS_HOST, *NAMES),)}
    return scale.model_copy(update=changed)


def test_picks_on_this_host_are_measured_again_in_turns_and_nothing_twice(tmp_path: Path) -> None:
    stopwatch, folder = FixedStopwatch({"int8": 1.0, "tiny": 3.0, "poor": 0.1}), StudyFolder(tmp_path)
    timings = time_all(timed_scale(), CANDIDATES, folder, stopwatch)
    assert stopwatch.asked.count("tiny and int8 in turns") == 6
    assert len(stopwatch.asked) == 3 + 6
    again = FixedStopwatch({})
    assert time_all(timed_scale(), CANDIDATES, folder, again) == timings
    assert again.asked == []
    by_arm = {name: [item for item in CANDIDATES if item.arm == name] for name in NAMES}
    result = evaluate_claim(timed_scale().claims[0], by_arm, timings)
    assert result.interval is not None
    assert result.interval.value == pytest.approx(1.425, abs=0.001)
    assert result.verdict == "falsified"


def law(**changes: object) -> FitClaim:
    values = {
        "name": "law",
        "law": "power",
        "x": "size_ratio",
        "y": "loss",
        "arms": ("a2", "a4", "a8"),
        "held_out": ("a4",),
        "supported_from": 0.8,
        "falsified_below": 0.0,
    }
    return FitClaim.model_validate({**values, **changes})


def test_a_law_is_fitted_on_some_arms_and_judged_on_the_others() -> None:
    """Losses 0.02, 0.04 and 0.08 at 2x, 4x and 8x: y = 0.01 x."""
    records = arms(a2=(0.98, 8000, 1), a4=(0.96, 4000, 1), a8=(0.92, 2000, 1))
    by_arm = {name: [item for item in records if item.arm == name] for name in ("a2", "a4", "a8")}
    result = evaluate_claim(law(), by_arm, ())
    assert result.details["exponent"] == pytest.approx(1.0)
    assert result.details["factor"] == pytest.approx(0.01)
    assert result.interval is not None
    assert result.interval.value == pytest.approx(1.0)
    assert result.verdict == "supported"


def test_a_law_over_unlike_seeds_is_not_computed() -> None:
    records = arms(a2=(0.98, 8000, 1), a4=(0.96, 4000, 1), a8=(0.92, 2000, 1))
    by_arm = {
        name: [item for item in records if item.arm == name and (name, item.seed) != ("a8", 3)]
        for name in ("a2", "a4", "a8")
    }
    result = evaluate_claim(law(), by_arm, ())
    assert (result.verdict, result.interval) == ("undecided", None)
    assert "same seeds" in result.note


def test_device_classes_leave_the_arms_that_meet_them() -> None:
    from edgefleet_compression.studies.constraints import picks

    scale = timed_scale()
    sets = tuple(
        ConstraintSet(name=name, size_bytes=size_bytes, p50_ms=2.0, board=PI)
        for name, size_bytes in (("roomy", 5000), ("tight", 50))
    )
    named = tuple(scale.arms[0].model_copy(update={"name": name}) for name in NAMES)
    scale = scale.model_copy(update={"constraints": sets, "arms": named})
    by_arm = {name: [item for item in CANDIDATES if item.arm == name] for name in NAMES}
    p50_ms = medians(latencies(CANDIDATES, PI, int8=1.0, tiny=1.5, poor=0.1))
    roomy, tight = picks(scale, by_arm, p50_ms)
    assert (roomy.accuracy_first, roomy.efficiency_first) == ("tiny", "tiny")
    assert (tight.accuracy_first, tight.efficiency_first) == (None, None)


KEYWORDS = {"kind": "generated", "name": "keywords", "n_samples": 200, "length": 8, "vocabulary": 16}


def test_every_seed_has_its_own_cut_of_the_same_samples() -> None:
    data = StudyData(name="text", spec=KEYWORDS, shares=(0.5, 0.2, 0.3))
    first, again, other = (samples_of(data, seed) for seed in (0, 0, 1))
    assert first.sha256() == again.sha256() != other.sha256()
    assert [len(part) for part in (first.train, first.validation, first.test)] == [100, 40, 60]
    assert chance_of(first) == 0.25
    whole = [np.sort(np.concatenate([d.train.x, d.validation.x, d.test.x]), axis=0) for d in (first, other)]
    assert (whole[0] == whole[1]).all()


def test_noise_is_for_float_samples() -> None:
    with pytest.raises(DataInvalid):
        samples_of(StudyData(name="text", spec=KEYWORDS, noise=0.1), 0)


def test_a_share_takes_training_samples_only() -> None:
    data = samples_of(StudyData(name="text", spec=KEYWORDS), 0)
    half = with_share(data, 0.5, 0)
    assert len(half.train) == len(data.train) // 2
    assert half.test is data.test
    assert with_share(data, 1.0, 0) is data
