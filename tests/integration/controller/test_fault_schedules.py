"""A few of the fault schedules of the fleet bench, and proof that they would notice a defect. ``make bench-fleet`` runs 1,000."""

import warnings
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test
from tests.benchmarks.fleet_load.fault_machine import FaultMachine, machine_over, schedule_settings
from tests.benchmarks.fleet_load.reference_model import Kind, Operation, ReferenceModel, RunRow, Violation
from tests.integration.conftest import PostgresServer

N_SCHEDULES = 4


def run_some(machine: type[FaultMachine]) -> None:
    with warnings.catch_warnings():
        # a killed process leaves its connections and its event loop to the collector, as the kernel would
        warnings.simplefilter("ignore", ResourceWarning)
        run_state_machine_as_test(seed(2026)(machine), settings=schedule_settings(N_SCHEDULES, shrinks=False))


def test_schedules_lose_nothing_on_sqlite() -> None:
    ended: list[None] = []
    with machine_over(None, lambda: ended.append(None)) as machine:
        run_some(machine)
    assert len(ended) >= N_SCHEDULES


def test_schedules_lose_nothing_on_postgresql(postgres_server: PostgresServer) -> None:
    ended: list[None] = []
    with machine_over(postgres_server.create_database(), lambda: ended.append(None)) as machine:
        run_some(machine)
    assert len(ended) >= N_SCHEDULES


HELD = RunRow("r", "v", "d", "leased", 2, cancel_requested=False, expires_s=60.0, result=None)


@pytest.fixture
def model() -> ReferenceModel:
    return ReferenceModel(rows={"r": HELD})


def changed(**fields: Any) -> dict[str, RunRow]:
    return {"r": replace(HELD, **fields)}


REPORT = Operation("report", "d", "r", attempt=2, status=200)


def test_model_takes_the_report_of_the_run_s_holder(model: ReferenceModel) -> None:
    model.observe(REPORT, changed(state="completed", result=(2, "sha"), expires_s=None))


@pytest.mark.parametrize(
    ("operation", "fields", "kind"),
    [
        (Operation("report", "d", "r", attempt=1), {"state": "completed", "result": (1, "sha")}, Kind.STALE),
        (Operation("report", "other", "r", attempt=2), {"state": "completed", "result": (2, "sha")}, Kind.STALE),
        (REPORT, {}, Kind.LOST),
        (Operation("heartbeat", "d", "r", attempt=1), {"expires_s": 99.0}, Kind.STALE),
        (Operation("sweep", at_s=59.0), {"state": "queued", "expires_s": None}, Kind.STALE),
        (Operation("sweep", at_s=61.0), {"state": "failed", "expires_s": None}, Kind.LOST),
        (Operation("claim", "other"), {"attempt": 3}, Kind.STALE),
        (Operation("submit"), {"state": "completed"}, Kind.STALE),
        (Operation("sweep"), {"cancel_requested": True}, Kind.OTHER),
    ],
)
def test_model_notices_what_must_not_happen(
    model: ReferenceModel, operation: Operation, fields: dict[str, Any], kind: Kind
) -> None:
    with pytest.raises(Violation) as caught:
        model.observe(operation, changed(**fields))
    assert caught.value.kind is kind


def test_model_notices_a_run_that_is_gone_and_a_result_that_changed(model: ReferenceModel) -> None:
    with pytest.raises(Violation, match="runs_lost"):
        model.observe(Operation("sweep"), {})
    model.observe(REPORT, changed(state="completed", result=(2, "sha"), expires_s=None))
    with pytest.raises(Violation, match="runs_double_counted"):
        model.observe(REPORT, changed(state="completed", result=(2, "another"), expires_s=None))
