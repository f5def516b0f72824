from typing import Any

import pytest

from edgefleet_agent.measure.verdict import Evidence, SupplyLevels, join_verdicts, judge_energy, reach_verdict
from edgefleet_agent.statistics import SteadyOutcome
from edgefleet_agent.wire.reasons import Reason, VerdictStatus
from edgefleet_agent.wire.report import Conditions, EnergySummary, Verdict

SPAN_S = 10.0


def verdict(
    *, before: "dict[str, Any] | None" = None, after: "dict[str, Any] | None" = None, **changes: Any
) -> "tuple[VerdictStatus, list[Reason]]":
    quiet = {"cpu_busy_s": 100.0, "cpu_steal_s": 1.0}
    first = Conditions(monotonic_ns=0, **{**quiet, **(before or {})})
    last = Conditions(monotonic_ns=int(SPAN_S * 1e9), **{**quiet, "cpu_busy_s": 100.0 + SPAN_S, **(after or {})})
    evidence = {"outcome": SteadyOutcome.FLAT, "n_non_finite": 0, "cpu_s": SPAN_S, **changes}
    reached = reach_verdict(Evidence(before=first, after=last, **evidence))
    return reached.status, list(reached.reasons)


@pytest.mark.parametrize("outcome", [SteadyOutcome.FLAT, SteadyOutcome.WARMUP])
def test_steady_run_on_a_quiet_host_is_valid(outcome: SteadyOutcome) -> None:
    assert verdict(outcome=outcome) == (VerdictStatus.VALID, [])


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (SteadyOutcome.SLOWDOWN, Reason.SLOWDOWN),
        (SteadyOutcome.NO_STEADY_STATE, Reason.NO_STEADY_STATE),
    ],
)
def test_unsteady_run_is_suspect(outcome: SteadyOutcome, reason: Reason) -> None:
    assert verdict(outcome=outcome) == (VerdictStatus.SUSPECT, [reason])


def test_neighbours_that_use_more_than_a_quarter_core_are_suspect() -> None:
    assert verdict(after={"cpu_busy_s": 100.0 + SPAN_S + 2.4}) == (VerdictStatus.VALID, [])
    assert verdict(after={"cpu_busy_s": 100.0 + SPAN_S + 2.6}) == (VerdictStatus.SUSPECT, [Reason.HOST_BUSY])


def test_stolen_time_is_suspect() -> None:
    assert verdict(after={"cpu_steal_s": 1.19}) == (VerdictStatus.VALID, [])
    assert verdict(after={"cpu_steal_s": 1.21}) == (VerdictStatus.SUSPECT, [Reason.CPU_STEAL])


def test_changed_frequency_is_suspect() -> None:
    fast, slow = {"frequencies_khz": [600000, 1500000]}, {"frequencies_khz": [600000, 1000000]}
    assert verdict(before=fast, after=slow) == (VerdictStatus.SUSPECT, [Reason.FREQUENCY_CHANGED])
    assert verdict(before=fast, after=fast) == (VerdictStatus.VALID, [])


def test_hot_board_is_suspect() -> None:
    assert verdict(after={"temperatures_c": {"cpu-thermal": 81.2}}) == (
        VerdictStatus.SUSPECT,
        [Reason.TEMPERATURE_HIGH],
    )


@pytest.mark.parametrize(
    ("first", "last", "reasons"),
    [
        (0x0, 0x0, []),
        (0x50000, 0x50000, []),  # under-voltage and throttling happened before this run: sticky bits alone
        (0x0, 0x50005, [Reason.THROTTLED_NOW, Reason.THROTTLED_STICKY]),
        (0x0, 0x20000, [Reason.THROTTLED_STICKY]),
        (0x8, 0x8, [Reason.THROTTLED_NOW]),
    ],
)
def test_throttling_is_invalid_and_old_sticky_bits_are_not(first: int, last: int, reasons: "list[Reason]") -> None:
    status, found = verdict(before={"throttled_bits": first}, after={"throttled_bits": last})
    assert found == reasons
    assert status is (VerdictStatus.INVALID if reasons else VerdictStatus.VALID)


def test_non_finite_outputs_are_invalid() -> None:
    assert verdict(n_non_finite=1) == (VerdictStatus.INVALID, [Reason.NON_FINITE_OUTPUT])


def test_unknown_conditions_are_no_accusation() -> None:
    unknown = {"cpu_busy_s": None, "cpu_steal_s": None}
    assert verdict(before=unknown, after=unknown) == (VerdictStatus.VALID, [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"core_wait_s": 0.31}, Reason.CPU_CONTENTION),
        ({"n_inferences": 1000, "major_faults": 11}, Reason.PAGING),
        ({"threads": 4, "n_cores": 2}, Reason.OVERSUBSCRIBED),
        ({"rate_sustained": False}, Reason.RATE_NOT_SUSTAINED),
        ({"cooled_down": False}, Reason.NOT_COOLED_DOWN),
        ({"supply": SupplyLevels(idle_v=5.1, loaded_v=4.8)}, Reason.VOLTAGE_SAG),
        ({"before": {"pressure_s": {"cpu": 1.0}}, "after": {"pressure_s": {"cpu": 3.6}}}, Reason.CPU_PRESSURE),
        ({"before": {"pressure_s": {"memory": 0.0}}, "after": {"pressure_s": {"memory": 0.2}}}, Reason.MEMORY_PRESSURE),
        ({"before": {"governors": ["ondemand"]}, "after": {"governors": ["powersave"]}}, Reason.GOVERNOR_CHANGED),
    ],
)
def test_trouble_beside_the_inference_is_suspect(changes: "dict[str, Any]", reason: Reason) -> None:
    assert verdict(**changes) == (VerdictStatus.SUSPECT, [reason])


@pytest.mark.parametrize(
    "changes",
    [
        {"core_wait_s": 0.29},
        {"core_wait_s": 0.55, "threads": 2, "n_cores": 2},
        {"n_inferences": 1000, "major_faults": 10},
        {"supply": SupplyLevels(idle_v=5.1, loaded_v=4.9)},
        {"before": {"pressure_s": {"cpu": 1.0}}, "after": {"pressure_s": {"cpu": 3.4}}},
        {"before": {"pressure_s": {"memory": 0.0}}, "after": {"pressure_s": {"memory": 0.05}}},
    ],
)
def test_what_a_quiet_virtual_host_shows_is_valid(changes: "dict[str, Any]") -> None:
    assert verdict(**changes) == (VerdictStatus.VALID, [])


def test_under_voltage_alarm_is_invalid() -> None:
    assert verdict(after={"under_voltage_alarm": True}) == (VerdictStatus.INVALID, [Reason.UNDER_VOLTAGE])
    assert verdict(after={"under_voltage_alarm": False}) == (VerdictStatus.VALID, [])


def test_reasons_of_all_launches_are_gathered_once() -> None:
    conditions = Conditions(monotonic_ns=0)
    launches = [
        Evidence(SteadyOutcome.SLOWDOWN, 0, conditions, conditions, 0.0),
        Evidence(SteadyOutcome.SLOWDOWN, 0, conditions, conditions, 0.0, cooled_down=False),
    ]
    assert reach_verdict(*launches).reasons == [Reason.SLOWDOWN, Reason.NOT_COOLED_DOWN]


@pytest.mark.parametrize(
    ("remarks", "reasons"),
    [
        ([], []),
        (["sampler_starved"], [Reason.SAMPLER_STARVED]),
        (["idle_drift", "overhead_high"], [Reason.OVERHEAD_HIGH]),
        # these are about the energy alone: its value is null, or its uncertainty says it
        (["sensor_saturated", "too_few_repeats", "net_not_positive", "uncertainty_unknown"], []),
    ],
)
def test_energy_remarks_that_touch_the_run_make_it_suspect(remarks: "list[str]", reasons: "list[Reason]") -> None:
    reached = judge_energy(EnergySummary(value_mj=1.0, detail={"reasons": remarks}))
    assert list(reached.reasons) == reasons
    assert reached.status is (VerdictStatus.SUSPECT if reasons else VerdictStatus.VALID)


def test_energy_that_was_not_wanted_says_nothing_of_the_run() -> None:
    assert judge_energy(EnergySummary(value_mj=None, reason=Reason.NO_SENSOR)).status is VerdictStatus.VALID


def test_the_worst_of_several_verdicts_stands_with_all_reasons() -> None:
    busy = Verdict(status=VerdictStatus.SUSPECT, reasons=[Reason.HOST_BUSY])
    hot = Verdict(status=VerdictStatus.INVALID, reasons=[Reason.THROTTLED_NOW, Reason.HOST_BUSY])
    joined = join_verdicts([Verdict(status=VerdictStatus.VALID), busy, hot])
    assert joined == Verdict(status=VerdictStatus.INVALID, reasons=[Reason.HOST_BUSY, Reason.THROTTLED_NOW])
