"""Random schedules of work and faults (Hypothesis), each ended by letting the world calm down and counting what is left."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.benchmarks.fleet_load.asgi_process import without_threads
from tests.benchmarks.fleet_load.crash_points import crashing
from tests.benchmarks.fleet_load.faulty_fleet import (
    LEASE_S,
    NO_FAULT,
    Delivery,
    Fault,
    FaultyFleet,
    SimulatedAgent,
    unfinished,
)
from tests.benchmarks.fleet_load.reference_model import Kind, Violation

from edgefleet_controller.db.database import Database
from edgefleet_controller.db.migrate import upgrade_to_head
from edgefleet_controller.db.tables import Base

CALM_ROUNDS = 60
N_STEPS = 30
REQUEST_OPERATIONS, ROUND_OPERATIONS = 10, 40
"""About as many operations on the store as a request, and a sweeper's round, has."""
crash_points = st.one_of(st.none(), st.none(), st.none(), st.integers(0, ROUND_OPERATIONS))
request_crash_points = st.one_of(st.none(), st.none(), st.none(), st.integers(0, REQUEST_OPERATIONS))
deliveries = st.sampled_from([*[Delivery.NORMAL] * 5, *Delivery])
faults = st.builds(Fault, delivery=deliveries, crash_at=request_crash_points)
indices = st.integers(0, 2)


class FaultMachine(RuleBasedStateMachine):
    """One schedule. ``make_fleet`` gives a fleet over an empty store."""

    make_fleet: Callable[[], FaultyFleet]

    def __init__(self) -> None:
        super().__init__()
        self._installed = ExitStack()
        self._installed.enter_context(without_threads())
        self.fleet = type(self).make_fleet()
        self._installed.enter_context(crashing(self.fleet.points))

    @initialize(n_variants=st.integers(1, 3))
    def begin_with_work(self, n_variants: int) -> None:
        """There is something to go wrong from the first step on."""
        self.fleet.submit([0, 1, 2], n_variants, NO_FAULT)
        while self.fleet.undispatched:
            self.dispatch(None, repeats=False)
        self.fleet.sweep(None)  # by which the controller hears of what another process queued

    @rule(devices=st.lists(indices, min_size=1, max_size=3, unique=True), n_variants=st.integers(1, 2), fault=faults)
    def submit(self, devices: list[int], n_variants: int, fault: Fault) -> None:
        revoked = [index for index in devices if self.fleet.agents[index].is_revoked]
        if not revoked:
            self.fleet.submit(devices, n_variants, fault)

    @precondition(lambda self: self.fleet.undispatched)
    @rule(crash_at=crash_points, repeats=st.booleans())
    def dispatch(self, crash_at: int | None, repeats: bool) -> None:
        wanted = self.fleet.undispatched[0]
        self.fleet.dispatch(wanted, crash_at)
        if crash_at is None:
            self.fleet.undispatched.pop(0)
            self.fleet.dispatched.append(wanted)
            if repeats:
                self.fleet.dispatch(wanted, None)

    @rule(index=indices, fault=faults)
    def claim(self, index: int, fault: Fault) -> None:
        self.fleet.claim(self.fleet.agents[index], fault)

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), fault=faults)
    def heartbeat(self, data: st.DataObject, fault: Fault) -> None:
        self.fleet.heartbeat(data.draw(st.sampled_from(self.busy())), fault)

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), fails=st.booleans(), fault=faults)
    def finish(self, data: st.DataObject, fails: bool, fault: Fault) -> None:
        self.fleet.finish(data.draw(st.sampled_from(self.busy())), fails=fails, fault=fault)

    @rule(index=indices, beats=st.booleans(), fault=faults)
    def go_on(self, index: int, beats: bool, fault: Fault) -> None:
        """An agent does what comes next: it takes a run, says that it works, hands in its report."""
        agent = self.fleet.agents[index]
        if agent.order is None:
            self.fleet.claim(agent, fault)
        elif beats:
            self.fleet.heartbeat(agent, fault)
        else:
            self.fleet.finish(agent, fails=False, fault=fault)

    @rule(index=indices, crash_at=st.integers(0, REQUEST_OPERATIONS))
    def go_on_against_a_crash(self, index: int, crash_at: int) -> None:
        """The controller dies while it hands out a run or takes in a report."""
        agent, fault = self.fleet.agents[index], Fault(crash_at=crash_at)
        if agent.order is None:
            self.fleet.claim(agent, fault)
        else:
            self.fleet.finish(agent, fails=False, fault=fault)

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), is_report=st.booleans(), arrives_now=st.booleans())
    def be_overtaken(self, data: st.DataObject, is_report: bool, arrives_now: bool) -> None:
        """A write is under way for longer than its lease; its agent was killed, and has begun the next attempt meanwhile."""
        agent = data.draw(st.sampled_from(self.busy()))
        if is_report:
            self.fleet.finish(agent, fails=False, fault=Fault(Delivery.DELAYED))
        else:
            self.fleet.heartbeat(agent, Fault(Delivery.DELAYED))
        agent.die()
        self.fleet.clock.advance(LEASE_S + 1)
        self.fleet.sweep(None)
        self.fleet.claim(agent, NO_FAULT)
        if arrives_now:
            self.fleet.deliver(len(self.fleet.delayed) - 1, None)

    def busy(self) -> list[SimulatedAgent]:
        """Agents that believe that they hold a run."""
        return [agent for agent in self.fleet.agents if agent.order is not None]

    @precondition(lambda self: any(agent.spool for agent in self.fleet.agents))
    @rule(fault=faults)
    def send_again(self, fault: Fault) -> None:
        agent = next(agent for agent in self.fleet.agents if agent.spool)
        self.fleet.send(agent.spool[0], fault)

    @rule(index=indices)
    def forget(self, index: int) -> None:
        self.fleet.agents[index].die()

    @precondition(lambda self: self.fleet.delayed)
    @rule(data=st.data(), crash_at=request_crash_points)
    def deliver(self, data: st.DataObject, crash_at: int | None) -> None:
        self.fleet.deliver(data.draw(st.integers(0, len(self.fleet.delayed) - 1)), crash_at)

    @precondition(lambda self: self.fleet.sent)
    @rule(data=st.data(), crash_at=request_crash_points)
    def repeat(self, data: st.DataObject, crash_at: int | None) -> None:
        self.fleet.repeat(data.draw(st.integers(0, len(self.fleet.sent) - 1)), crash_at)

    @precondition(lambda self: self.written())
    @rule(data=st.data())
    def repeat_a_write(self, data: st.DataObject) -> None:
        self.fleet.repeat(data.draw(st.sampled_from(self.written())), None)

    def written(self) -> list[int]:
        """Requests of the past that wrote about a run."""
        return [i for i, one in enumerate(self.fleet.sent) if one.operation.name in ("heartbeat", "report")]

    @precondition(lambda self: self.fleet.jobs)
    @rule(data=st.data(), fault=faults)
    def cancel(self, data: st.DataObject, fault: Fault) -> None:
        self.fleet.cancel(data.draw(st.sampled_from(sorted(self.fleet.jobs))), fault)

    @rule(index=indices, action=st.sampled_from(["hold", "release", "release", "release", "revoke"]), fault=faults)
    def change_device(self, index: int, action: str, fault: Fault) -> None:
        self.fleet.change_device(self.fleet.agents[index], action, fault)

    @precondition(lambda self: self.busy())
    @rule(seconds=st.sampled_from([61.0, 100.0]))
    def lose_a_lease(self, seconds: float) -> None:
        """Time passes for an agent that hears nothing of it, and its run goes elsewhere."""
        self.fleet.clock.advance(seconds)
        self.fleet.sweep(None)

    @rule(crash_at=crash_points)
    def sweep(self, crash_at: int | None) -> None:
        self.fleet.sweep(crash_at)

    @rule(seconds=st.sampled_from([1.0, 20.0, 61.0, 100.0, -100.0]))
    def pass_time(self, seconds: float) -> None:
        """The clock goes on, or is put back."""
        self.fleet.clock.advance(seconds)

    @rule()
    def restart(self) -> None:
        self.fleet.restart()

    def teardown(self) -> None:
        try:
            if not self.fleet.is_broken:
                calm_down(self.fleet)
                self.on_end()
        finally:
            self.close()

    def close(self) -> None:
        """End the controller, judged or not."""
        self.fleet.close()
        self._installed.close()

    def on_end(self) -> None:
        """Every run has ended, and nothing was found."""


def calm_down(fleet: FaultyFleet) -> None:
    """No more faults: everything that was submitted is carried out; Violation for a run that never ends."""
    for request in fleet.submissions:
        fleet.send(request, NO_FAULT)
    while fleet.delayed:
        fleet.deliver(0, None)
    while fleet.undispatched:
        fleet.dispatch(fleet.undispatched[0], None)
        fleet.dispatched.append(fleet.undispatched.pop(0))
    fleet.require_all_runs()
    working = [agent for agent in fleet.agents if not agent.is_revoked]
    for agent in working:
        fleet.change_device(agent, "release", NO_FAULT)
    for _ in range(CALM_ROUNDS):
        fleet.sweep(None)
        for agent in working:
            work_off(fleet, agent)
        left = unfinished(fleet.model.rows)
        if not left and not any(agent.spool for agent in working):
            return
        fleet.clock.advance(61)
    raise Violation(Kind.LOST, f"{len(left)} runs never ended, such as {left[:1]}; devices: {fleet.device_states()}")


def work_off(fleet: FaultyFleet, agent: SimulatedAgent) -> None:
    """The agent hands in what it has and takes runs until there is none."""
    for request in list(agent.spool):
        fleet.send(request, NO_FAULT)
    while True:
        if agent.order is not None:
            fleet.finish(agent, fails=False, fault=NO_FAULT)
        fleet.claim(agent, NO_FAULT)
        if agent.order is None:
            return


def schedule_settings(n_schedules: int, *, shrinks: bool) -> Any:
    """Hypothesis' settings for so many schedules; without shrinking a violation ends them at once."""
    phases = [Phase.generate, Phase.shrink] if shrinks else [Phase.generate]
    return settings(
        max_examples=n_schedules,
        stateful_step_count=N_STEPS,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


@contextmanager
def machine_over(database_url: str | None) -> Iterator[type[FaultMachine]]:
    """The machine over one store (None: SQLite in memory-backed files), emptied before each schedule."""
    folder = Path(tempfile.mkdtemp(prefix="edgefleet-faults-", dir=memory_folder()))
    url = database_url or f"sqlite:///{folder / 'edgefleet.db'}"
    upgrade_to_head(url)
    database = Database.from_url(url)
    with database.reading() as session:
        seeded = {table.name for table in Base.metadata.sorted_tables if session.execute(table.select()).first()}

    def make() -> FaultyFleet:
        with database.engine.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                if table.name not in seeded:
                    connection.execute(table.delete())
        return FaultyFleet(folder, url)

    members = {"make_fleet": staticmethod(make)}
    try:
        yield type("FaultMachineHere", (FaultMachine,), members)
    finally:
        database.dispose()
        shutil.rmtree(folder)


def memory_folder() -> Path | None:
    """A file system in memory where there is one: a killed process loses nothing of it, and fsync costs nothing."""
    shm = Path("/dev/shm")
    return shm if shm.is_dir() else None
