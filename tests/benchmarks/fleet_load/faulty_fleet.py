"""A small fleet over a controller that may die at any operation, watched by the reference model."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import text
from tests.benchmarks.fleet_load.agents import Agent
from tests.benchmarks.fleet_load.asgi_process import AsgiProcess
from tests.benchmarks.fleet_load.bench_app import Runs, enrol_device, queue_runs
from tests.benchmarks.fleet_load.crash_points import Crashed, CrashPoints
from tests.benchmarks.fleet_load.documents import FACTS, FACTS_SHA256, JsonObject, measured
from tests.benchmarks.fleet_load.http_client import Answer
from tests.benchmarks.fleet_load.reference_model import ENDED, Kind, Operation, ReferenceModel, RunRow, Violation

from edgefleet_controller.clock import FakeClock
from edgefleet_controller.db.database import Database

LEASE_S = 60.0
ROUNDS = (
    "wake_waiting",
    "flush_heartbeats",
    "end_leases",
    "finish_cancels",
    "release_jobs",
    "flush_presence",
    "restart_queued_jobs",
)
"""What recurs in the API process and touches runs."""

ARTIFACT = b"artifact of the fault schedules"
MODEL = b"model of the fault schedules"
SAMPLES = measured(0)
_RUNS = text(
    "SELECT runs.id, runs.variant_id, runs.device_id, runs.state, runs.attempt, runs.cancel_requested,"
    " runs.lease_expires_at, results.attempt, results.report_sha256"
    " FROM runs LEFT JOIN results ON results.run_id = runs.id"
)


class Delivery(StrEnum):
    """What the network does to a request."""

    NORMAL = "normal"
    LOST = "lost"
    ANSWER_LOST = "answer_lost"
    TWICE = "twice"
    DELAYED = "delayed"


@dataclass(frozen=True)
class Fault:
    """How one request fares: its delivery, and the operation on the store at which the controller dies, if it does."""

    delivery: Delivery = Delivery.NORMAL
    crash_at: int | None = None


NO_FAULT = Fault()


@dataclass(frozen=True)
class Request:
    """A request as it went out; a delayed or repeated one is the same bytes again."""

    operation: Operation
    method: str
    path: str
    token: str
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class SimulatedAgent:
    """What an agent remembers: the order it works on, and reports not yet accepted."""

    identity: Agent
    order: JsonObject | None = None
    spool: list[Request] = field(default_factory=list)
    is_revoked: bool = False
    boot: int = 1
    n_claims: int = 0

    def die(self) -> None:
        """kill -9: it forgets what it works on, not its spool."""
        self.order, self.boot, self.n_claims = None, self.boot + 1, 0


class FaultyFleet:
    """Three devices, an operator, a worker, and a controller that dies; every step is checked against the model."""

    def __init__(self, folder: Path, database_url: str | None, n_devices: int = 3) -> None:
        self.points = CrashPoints()
        self.clock = FakeClock()
        self.model = ReferenceModel()
        self._start = self.clock.now()
        self.process = AsgiProcess(folder, database_url, self.clock, self.points)
        self.process.start()
        self._watcher = Database.from_url(self.process.services.settings.resolved_database_url, self.clock)
        self._n_reports = 0
        self.is_broken = False
        self.delayed: list[Request] = []
        self.sent: list[Request] = []
        self.submissions: list[Request] = []
        self.jobs: dict[str, JsonObject] = {}
        self.undispatched: list[Runs] = []
        self.dispatched: list[Runs] = []
        self.agents = self._prepare(n_devices)

    def close(self) -> None:
        """Kill the controller; release everything."""
        self.process.close()
        self._watcher.dispose()

    def _prepare(self, n_devices: int) -> list[SimulatedAgent]:
        services = self.process.services
        self._artifact = {"sha256": hashlib.sha256(ARTIFACT).hexdigest(), "size_bytes": len(ARTIFACT)}
        with services.database.writing() as session:
            identities = [enrol_device(session, services, f"d{i}", FACTS, FACTS_SHA256) for i in range(n_devices)]
        for content in (ARTIFACT, MODEL, SAMPLES.blob):
            self._operate("PUT", f"/v1/blobs/{hashlib.sha256(content).hexdigest()}", content=content)
        answer = self._operate("POST", "/v1/models", {"name": "m", "blob_sha256": hashlib.sha256(MODEL).hexdigest()})
        self._model_id = str(answer["id"])
        return [SimulatedAgent(Agent(**one)) for one in identities]

    def _operate(self, method: str, path: str, body: object = None, content: bytes = b"") -> JsonObject:
        answer = self.process.request(method, path, self._operator_token, body, content)
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.body!r}")
        found: JsonObject = answer.json()
        return found

    @property
    def _operator_token(self) -> str:
        return self.process.services.operator_token

    @property
    def now_s(self) -> float:
        """Seconds since the schedule began."""
        return (self.clock.now() - self._start).total_seconds()

    def agent_of(self, device_id: str | None) -> SimulatedAgent | None:
        """The agent of a device."""
        return next((agent for agent in self.agents if agent.identity.device_id == device_id), None)

    # what the world does

    def submit(self, device_indices: list[int], n_variants: int, fault: Fault) -> None:
        """The operator submits a job under a key of its own, and repeats it later if no answer came."""
        body = {
            "model": self._model_id,
            "recipes": [{"name": f"r{index}", "passes": [], "seed": index} for index in range(n_variants)],
            "devices": [self.agents[index].identity.device_id for index in device_indices],
        }
        key = {"idempotency-key": f"key-{len(self.submissions)}"}
        request = Request(Operation("submit"), "POST", "/v1/jobs", self._operator_token, body, key)
        self.submissions.append(request)
        self.send(request, fault)

    def claim(self, agent: SimulatedAgent, fault: Fault) -> None:
        """An idle agent asks for work."""
        operation = Operation("claim", agent.identity.device_id)
        agent.n_claims += 1
        boot = f"{agent.identity.device_id}-{agent.boot}"
        body = {"wait_s": 0, "facts_sha256": FACTS_SHA256, "boot": boot, "claim": agent.n_claims}
        self.send(Request(operation, "POST", "/agent/v1/claim", agent.identity.credential, body), fault)

    def heartbeat(self, agent: SimulatedAgent, fault: Fault) -> None:
        """An agent at work says so."""
        assert agent.order is not None
        body = {"run_id": agent.order["run_id"], "attempt": agent.order["attempt"], "phase": "measure"}
        operation = Operation("heartbeat", agent.identity.device_id, body["run_id"], body["attempt"])
        self.send(Request(operation, "POST", "/agent/v1/heartbeat", agent.identity.credential, body), fault)

    def finish(self, agent: SimulatedAgent, *, fails: bool, fault: Fault) -> None:
        """An agent ends its run: the report goes into its spool, and from there to the controller."""
        assert agent.order is not None
        self._n_reports += 1
        report = make_report(self._artifact, self._n_reports, fails=fails)
        body = {"run_id": agent.order["run_id"], "attempt": agent.order["attempt"], "report": report}
        operation = Operation("report", agent.identity.device_id, body["run_id"], body["attempt"])
        request = Request(operation, "POST", "/agent/v1/report", agent.identity.credential, body)
        agent.order = None
        agent.spool.append(request)
        self.send(request, fault)

    def cancel(self, job_id: str, fault: Fault) -> None:
        """The operator ends a job."""
        self.send(Request(Operation("cancel"), "POST", f"/v1/jobs/{job_id}/cancel", self._operator_token), fault)

    def change_device(self, agent: SimulatedAgent, action: str, fault: Fault) -> None:
        """Hold, release or revoke."""
        path = f"/v1/devices/{agent.identity.device_id}/{action}"
        self.send(Request(Operation(action, agent.identity.device_id), "POST", path, self._operator_token), fault)

    def dispatch(self, wanted: Runs, crash_at: int | None) -> None:
        """The worker, another process with its own connections, queues a variant's runs; a crash makes it repeat."""
        there = Database(self._watcher.engine, self.clock)
        services = replace(self.process.services, database=there)
        operation = Operation("dispatch", variant_ids=frozenset([wanted.variant_id]))
        self._try(operation, lambda: queue_runs(services, wanted), crash_at, kills=False)

    def require_all_runs(self) -> None:
        """Violation if a device has no run of a variant that was dispatched to it."""
        there = {(row.variant_id, row.device_id) for row in self.model.rows.values()}
        wanted = {(one.variant_id, device_id) for one in self.dispatched for device_id in one.device_ids}
        if missing := wanted - there:
            raise Violation(Kind.LOST, f"dispatched, and not there: {missing}")

    def sweep(self, crash_at: int | None) -> None:
        """One round of everything that recurs."""

        def work() -> None:
            sweeper = self.process.sweeper
            for name in ROUNDS:
                getattr(sweeper, name)()
            desk = self.process.services.desk
            desk.aftermath.write()
            desk.aftermath.settle_stragglers()

        self._try(Operation("sweep"), work, crash_at, kills=True)

    def deliver(self, index: int, crash_at: int | None) -> None:
        """A delayed request arrives now."""
        self._deliver(self.delayed.pop(index), crash_at)

    def repeat(self, index: int, crash_at: int | None) -> None:
        """Any request of the past arrives once more."""
        self._deliver(self.sent[index], crash_at)

    def restart(self) -> None:
        """kill -9, and a new process over the same store."""
        self.process.kill()
        self.process.start()

    # how it is delivered and judged

    def send(self, request: Request, fault: Fault) -> None:
        """Hand the request to the network."""
        self.sent.append(request)
        if fault.delivery is Delivery.LOST:
            return
        if fault.delivery is Delivery.DELAYED:
            self.delayed.append(request)
            return
        answer = self._deliver(request, fault.crash_at)
        if fault.delivery is Delivery.TWICE:
            answer = self._deliver(request, None) or answer
        if answer is not None and fault.delivery is not Delivery.ANSWER_LOST:
            self._take(request, answer)

    def _deliver(self, request: Request, crash_at: int | None) -> Answer | None:
        answers: list[Answer] = []

        def work() -> None:
            answers.append(
                self.process.request(request.method, request.path, request.token, request.body, headers=request.headers)
            )

        self._try(request.operation, work, crash_at, kills=True, answers=answers)
        return answers[0] if answers else None

    def _try(
        self,
        operation: Operation,
        work: Callable[[], Any],
        crash_at: int | None,
        *,
        kills: bool,
        answers: list[Answer] | None = None,
    ) -> None:
        """Do it, crash or not, and look at the store; ``kills``: the controller dies with a crash, not the worker."""
        if crash_at is not None:
            self.points.arm(crash_at)
        try:
            work()
        except Crashed:
            if kills:
                self.process.kill()
        except BaseExceptionGroup as group:
            if group.subgroup(Crashed) is None:
                raise
            self.process.kill()
        if kills and self.process.is_killed:
            self.process.start()
        self.points.revive()
        self._judge(operation, answers[0] if answers else None)

    def _judge(self, operation: Operation, answer: Answer | None) -> None:
        self.is_broken = True  # until this step is found to be right
        status = answer.status if answer is not None else None
        if answer is not None and answer.status >= 500:
            raise Violation(Kind.OTHER, f"{operation} was answered with {answer}")
        if operation.name == "claim" and status == 200 and answer is not None and answer.json()["order"]:
            order = answer.json()["order"]
            operation = replace(operation, run_id=order["run_id"], attempt=order["attempt"])
        revoked = frozenset(device for device, state in self.device_states().items() if state == "revoked")
        for device_id in revoked - {one.operation.device_id for one in self.sent if one.operation.name == "revoke"}:
            raise Violation(Kind.OTHER, f"{operation} revoked {device_id}")
        self.model.observe(
            replace(operation, status=status, at_s=self.now_s, lease_s=LEASE_S, revoked=revoked), self.look()
        )
        self.is_broken = False

    def look(self) -> dict[str, RunRow]:
        """The runs in the store, by identifier."""
        with self.points.suspended(), self._watcher.engine.connect() as connection:
            found = connection.execute(_RUNS).all()
        rows = {}
        for run_id, variant, device, state, attempt, cancel, expires, result_attempt, result_sha256 in found:
            if run_id in rows:
                raise Violation(Kind.TWICE, f"{run_id} has two results")
            result = None if result_attempt is None else (int(result_attempt), str(result_sha256))
            rows[run_id] = RunRow(
                run_id,
                variant,
                device,
                state,
                attempt,
                bool(cancel),
                None if expires is None else self._s(expires),
                result,
            )
        return rows

    def device_states(self) -> dict[str, str]:
        """State of every device by identifier."""
        with self.points.suspended(), self._watcher.engine.connect() as connection:
            return {row.id: row.state for row in connection.execute(text("SELECT id, state FROM devices"))}

    def _s(self, instant: Any) -> float:
        moment = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        seconds: float = (moment - self._start).total_seconds()
        return seconds

    def _take(self, request: Request, answer: Answer) -> None:
        """The sender learns of the answer."""
        operation, agent = request.operation, self.agent_of(request.operation.device_id)
        if operation.name == "submit" and answer.status == 202:
            job = answer.json()
            if job["id"] not in self.jobs:
                self.jobs[job["id"]] = job
                self.undispatched += [
                    Runs(
                        job_id=job["id"],
                        variant_id=variant["id"],
                        device_ids=job["request"]["device_ids"],
                        artifact=self._artifact,
                    )
                    for variant in job["variants"]
                ]
        elif operation.name == "claim" and answer.status == 200 and agent is not None:
            agent.order = answer.json()["order"]
        elif operation.name == "heartbeat" and answer.status != 200 and agent is not None:
            agent.order = None  # the run was taken away
        elif operation.name == "report" and agent is not None and request in agent.spool:
            if answer.status in (200, 401, 404, 409, 422):
                agent.spool.remove(request)
        elif operation.name == "revoke" and answer.status == 200 and agent is not None:
            agent.is_revoked = True


def make_report(artifact: Mapping[str, Any], serial: int, *, fails: bool) -> JsonObject:
    """A report unlike any other by its accuracy, or one of a failed run."""
    if fails:
        base = {"agent_version": "0.1.0", "provenance": "simulated", "artifact": dict(artifact)}
        error = {"code": "runner_killed", "message": f"killed, {serial}", "detail": {}}
        return base | {"error": error, "verdict": {"status": "invalid"}}
    accuracy = {"value": serial / 1_000_000, "n": 1_000_000, "n_correct": serial}
    return SAMPLES.report_on(dict(artifact)) | {"accuracy": accuracy}


def unfinished(rows: Mapping[str, RunRow]) -> list[RunRow]:
    """Runs that have not ended."""
    return [row for row in rows.values() if row.state not in ENDED]
