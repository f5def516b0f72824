"""Several simulated boards in one process: each is an agent of its own with the real loop, client and spool."""

import logging
import random
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional

import httpx

from edgefleet_agent.cache import ArtifactCache
from edgefleet_agent.client import ControllerClient, RetryPolicy, open_http
from edgefleet_agent.errors import AgentError, DrainRequested, SettingsInvalid
from edgefleet_agent.inventory import Inventory
from edgefleet_agent.loop.agent import Agent, Stores, clear_folder
from edgefleet_agent.loop.identity import Identity, load_identity
from edgefleet_agent.loop.one_run import Workshop
from edgefleet_agent.loop.stopping import StopSwitch
from edgefleet_agent.measure.artifact import Bench
from edgefleet_agent.measure.runtimes import RUNTIMES
from edgefleet_agent.settings import AGENT_VERSION, AgentSettings
from edgefleet_agent.simulate.measuring import NO_INTERPRETER, SimulatedDevice, make_board
from edgefleet_agent.simulate.parameters import load_parameters
from edgefleet_agent.simulate.reporting import describe_simulation
from edgefleet_agent.spool import Spool
from edgefleet_agent.wire.messages import DeviceFacts, RuntimeFacts

log = logging.getLogger(__name__)

LOOK_S = 0.2
"""How often a running fleet looks for a request to stop."""

HoldState = Callable[[Path], "AbstractContextManager[None]"]


@dataclass(frozen=True)
class FleetPlan:
    """What to simulate, and for whom. ``prefix``: names are prefix-1, prefix-2, ... ``interpreters``: of this host."""

    board: str
    count: int
    state: Path
    controller: Optional[str] = None
    join_tokens: Sequence[str] = ()
    prefix: Optional[str] = None
    seed: int = 0
    is_cooled: bool = True
    computes_accuracy: bool = True
    interpreters: Sequence[RuntimeFacts] = ()
    cache_free_bytes: int = 0
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        """Refuse a fleet without boards."""
        if self.count < 1:
            raise SettingsInvalid("--count {} makes no fleet; give 1 or more".format(self.count))

    def name_of(self, number: int) -> str:
        """The wanted name of board ``number`` (from 1)."""
        return "{}-{}".format(self.prefix or "sim-" + self.board, number)

    def state_of(self, number: int) -> Path:
        """The state folder of board ``number``."""
        return self.state / self.name_of(number)


@dataclass
class Member:
    """One board of the fleet. ``error``: why its agent ended early."""

    number: int
    settings: AgentSettings
    state: Path
    stop: StopSwitch = field(default_factory=StopSwitch)
    error: Optional[Exception] = None


def make_members(plan: FleetPlan) -> list[Member]:
    """The boards with their settings; those not enrolled yet get a join token each.

    Raises SettingsInvalid where a token or the controller's address is missing, or the kind of board is unknown.
    """
    describe_board(plan, 1)
    identities = {number: _identity(plan, number) for number in range(1, plan.count + 1)}
    # new boards come first; what is left serves boards whose credential the controller no longer takes
    order = sorted(identities, key=lambda number: identities[number] is not None)
    tokens = dict(zip(order, plan.join_tokens))
    return [_make_member(plan, number, identity, tokens.get(number)) for number, identity in identities.items()]


def _identity(plan: FleetPlan, number: int) -> Optional[Identity]:
    """Who the board is for this controller; None where it must enrol."""
    state = plan.state_of(number)
    state.mkdir(parents=True, exist_ok=True)
    identity = load_identity(state)
    moved = identity is not None and plan.controller not in (None, identity.controller)
    return None if moved else identity


def _make_member(plan: FleetPlan, number: int, identity: Optional[Identity], token: Optional[str]) -> Member:
    controller = plan.controller or (identity.controller if identity is not None else None)
    if controller is None:
        raise SettingsInvalid("no controller is known; give --controller URL")
    if identity is None and token is None:
        raise SettingsInvalid(
            "{} is not enrolled and no join token is left: each board needs one of its own; make them with "
            "`edgefleet token create --count {}`".format(plan.name_of(number), plan.count)
        )
    settings = AgentSettings(controller=controller, join_token=token, name=plan.name_of(number))
    return Member(number, settings, plan.state_of(number))


def describe_board(plan: FleetPlan, number: int) -> DeviceFacts:
    """The facts of a simulated board; they say everywhere that it is one."""
    board = make_board(plan.board, plan.seed, number, is_cooled=plan.is_cooled)
    facts = describe_simulation(plan.board, board)
    hosts = {item.name: item for item in plan.interpreters}
    runtimes = [
        RuntimeFacts(
            name=name,
            version="simulated",
            interpreter=hosts[name].interpreter if name in hosts else NO_INTERPRETER,
            python_version=hosts[name].python_version if name in hosts else "",
        )
        for name in RUNTIMES
    ]
    sensor = board.sensor_spec
    return DeviceFacts(
        agent_version=AGENT_VERSION,
        board=plan.board,
        hostname=plan.name_of(number),
        machine=facts["machine"],
        system="simulated: " + facts["description"],
        cpu_model=facts["cpu_model"],
        n_cores=facts["n_cores"],
        memory_bytes=facts["memory_bytes"],
        runtimes=runtimes,
        sensors=[{"kind": sensor.kind, "scope": sensor.scope, "provenance": "simulated"}],
        labels={"simulated": "yes", "parameters": load_parameters().sha256[:12]},
    )


def build_agent(plan: FleetPlan, member: Member, http: httpx.Client) -> Agent:
    """The agent of one board. Boards do not wait for the host: nothing of theirs is timed on it."""
    device = SimulatedDevice(
        name=plan.board,
        board=make_board(plan.board, plan.seed, member.number, is_cooled=plan.is_cooled),
        computes_accuracy=plan.computes_accuracy,
    )
    workshop = Workshop(
        cache=ArtifactCache(member.state / "cache", plan.cache_free_bytes),
        inventory=Inventory(describe_board(plan, member.number), ()),
        bench=Bench(work_directory=clear_folder(member.state / "work")),
        retry=plan.retry,
        rng=random.Random(),
        stop=member.stop,
        lock_directory=member.state / "own-lock",
        stand_in=device,
    )
    client = ControllerClient(http, timeout_s=member.settings.timeout_s)
    return Agent(client, member.settings, Stores(member.state, Spool(member.state / "spool")), workshop)


def _hold_nothing(_state: Path) -> "AbstractContextManager[None]":
    return nullcontext()


def serve_fleet(
    plan: FleetPlan, members: Sequence[Member], *, max_runs: Optional[int] = None, hold: HoldState = _hold_nothing
) -> None:
    """Serve until all boards have ended or were told to stop; a board that fails keeps its error, the others go on.

    After a request to stop, boards finish the run they have; those that only wait for work are left waiting.
    """
    threads = [
        threading.Thread(target=_serve, args=(plan, member, max_runs, hold), name=member.state.name, daemon=True)
        for member in members
    ]
    for thread in threads:
        thread.start()
    for thread, member in zip(threads, members):
        while _is_needed(thread, member):
            thread.join(LOOK_S)


def _is_needed(thread: threading.Thread, member: Member) -> bool:
    return thread.is_alive() and not (member.stop.is_set and member.stop.is_idle)


def _serve(plan: FleetPlan, member: Member, max_runs: Optional[int], hold: HoldState) -> None:
    try:
        with ExitStack() as stack:
            stack.enter_context(hold(member.state))
            http = stack.enter_context(open_http(member.settings))
            with suppress(DrainRequested):
                build_agent(plan, member, http).serve(max_runs=max_runs)
    except AgentError as err:
        log.warning("%s ended: %s", member.state.name, err)
        member.error = err
    except Exception as err:
        log.exception("%s ended by a bug of the agent", member.state.name)
        member.error = err
