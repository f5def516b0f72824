"""A few of the fault schedules of the fleet bench, and proof that they would notice a defect. ``make bench-fleet`` runs 1,000."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy.orm import Session
from tests.benchmarks.fleet_load.fault_machine import FaultMachine, machine_over
from tests.benchmarks.fleet_load.fault_runs import Found, ranges_of, run_seed, seeds_of, together
from tests.benchmarks.fleet_load.faulty_fleet import LEASE_S, NO_FAULT, Delivery, Fault
from tests.benchmarks.fleet_load.reference_model import Kind, Operation, ReferenceModel, RunRow, Violation
from tests.integration.conftest import PostgresServer

from edgefleet_controller.dispatch.lease_book import LeaseBook
from edgefleet_controller.runs import reporting, repository
from edgefleet_controller.runs.held import write_ends

SEEDS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def machine() -> Iterator[type[FaultMachine]]:
    """The schedules on SQLite."""
    with machine_over(None) as machine:
        yield machine


def found_by(machine: type[FaultMachine], seeds: tuple[int, ...]) -> Exception | None:
    """What the first of these seeds' schedules that finds something finds."""
    with warnings.catch_warnings():
        # a killed process leaves its connections and its event loop to the collector, as the kernel would
        warnings.simplefilter("ignore", ResourceWarning)
        return next(filter(None, (run_seed(machine, seed) for seed in seeds)), None)


def test_schedules_lose_nothing_on_sqlite(machine: type[FaultMachine]) -> None:
    assert found_by(machine, SEEDS) is None


def test_schedules_lose_nothing_on_postgresql(postgres_server: PostgresServer) -> None:
    with machine_over(postgres_server.create_database()) as machine:
        assert found_by(machine, SEEDS) is None


def without_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat of an attempt that is over extends the lease of the present one."""
    extend = LeaseBook.extend

    def extend_any(book: LeaseBook, run_id: str, attempt: int, device_id: str, *rest: Any) -> Any:
        lease = book.of_device(device_id)
        return extend(book, run_id, attempt if lease is None else lease.attempt, device_id, *rest)

    def extend_stored(session: Session, run_id: str, device_id: str, attempt: int, phase: str, until: datetime) -> Any:
        return repository.extend_lease_of(session, run_id, device_id, until)

    monkeypatch.setattr(LeaseBook, "extend", extend_any)
    monkeypatch.setattr(repository, "extend_lease", extend_stored)


def with_a_commit_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's end is committed before its result."""
    write = reporting._Rows.write

    def commit_first(rows: reporting._Rows, session: Session) -> None:
        write_ends(session, rows.runs)
        session.commit()
        write(rows, session)

    monkeypatch.setattr(reporting._Rows, "write", commit_first)


def overtake(schedule: FaultMachine) -> None:
    """A heartbeat is under way for longer than its lease, and the next attempt begins meanwhile."""
    fleet, agent = schedule.fleet, schedule.fleet.agents[0]
    fleet.claim(agent, NO_FAULT)
    fleet.heartbeat(agent, Fault(Delivery.DELAYED))
    agent.die()
    fleet.clock.advance(LEASE_S + 1)
    fleet.sweep(None)
    fleet.claim(agent, NO_FAULT)
    fleet.deliver(0, None)


def crash_in_reports(schedule: FaultMachine) -> None:
    """The controller dies at each of a report's operations on the store, one report after the other."""
    for crash_at in range(3 * len(schedule.fleet.agents)):
        agent = schedule.fleet.agents[crash_at % len(schedule.fleet.agents)]
        schedule.fleet.claim(agent, NO_FAULT)
        if agent.order is not None:
            schedule.fleet.finish(agent, fails=False, fault=Fault(crash_at=crash_at))


@pytest.mark.parametrize(
    ("steps", "defect", "kind"),
    [(overtake, without_fence, Kind.STALE), (crash_in_reports, with_a_commit_too_many, Kind.LOST)],
)
def test_schedules_catch_a_defect_of_the_product(
    machine: type[FaultMachine],
    monkeypatch: pytest.MonkeyPatch,
    steps: Callable[[FaultMachine], None],
    defect: Callable[[pytest.MonkeyPatch], None],
    kind: Kind,
) -> None:
    """By the steps that show it: random ones need tens of schedules (docs/load.md)."""
    with schedule_of(machine) as sound:
        steps(sound)
    defect(monkeypatch)
    with schedule_of(machine) as defective, pytest.raises(Violation) as found:
        steps(defective)
    assert found.value.kind is kind


@contextmanager
def schedule_of(machine: type[FaultMachine]) -> Iterator[FaultMachine]:
    """A schedule that a test makes step by step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        schedule = machine()
        try:
            schedule.begin_with_work(3)
            yield schedule
        finally:
            schedule.close()


def test_books_are_kept_over_slices_of_seeds() -> None:
    first, second = Found(), Found()
    for number in (1, 2, 3, 7):
        first.add(number, Violation(Kind.LOST, "gone") if number == 2 else None)
    for number in (2, 4):
        second.add(number, ValueError("the product raised") if number == 4 else None)
    both = together(together(None, first.as_json()), second.as_json())
    assert (both["seeds"], both["n_schedules"]) == ("1-4,7", 5)
    assert both["violations"] == {"inconsistencies": 1}  # the schedule of seed 2 was mended and run again
    assert [one["seeds"] for one in both["slices"]] == ["1-3,7", "2,4"]
    assert ranges_of(seeds_of("9,1-3,2")) == "1-3,9"


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


@pytest.mark.parametrize("status", [200, None])
def test_a_lease_whose_clock_was_set_back_ends_when_its_last_heartbeat_said(
    model: ReferenceModel, status: int | None
) -> None:
    held = replace(HELD, expires_s=366.0)  # until 60 s after 306, and at 206 the agent hears of 60 s more
    model.rows = {"r": held}
    model.observe(Operation("heartbeat", "d", "r", attempt=2, status=status, at_s=206.0), {"r": held})
    model.observe(Operation("sweep", at_s=267.0), changed(state="queued", expires_s=None))


def test_an_order_that_was_given_again_starts_its_lease_anew(model: ReferenceModel) -> None:
    held = replace(HELD, expires_s=366.0)
    model.rows = {"r": held}
    model.observe(Operation("heartbeat", "d", "r", attempt=2, status=200, at_s=206.0), {"r": held})
    model.observe(Operation("claim", "d", at_s=250.0), {"r": replace(held, expires_s=310.0)})
    with pytest.raises(Violation, match="stale_writes_accepted"):
        model.observe(Operation("sweep", at_s=267.0), changed(state="queued", expires_s=None))
