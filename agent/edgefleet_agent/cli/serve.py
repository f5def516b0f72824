import argparse
import fcntl
import hashlib
import json
import logging
import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Callable, Optional

from edgefleet_agent.cache import ArtifactCache
from edgefleet_agent.cli.energy import best_meter, usable_sensors
from edgefleet_agent.client import ControllerClient, RetryPolicy, open_http
from edgefleet_agent.errors import CredentialRefused, DrainRequested, SettingsInvalid, UpdateFailed, UpgradeNeeded
from edgefleet_agent.inventory import take_inventory
from edgefleet_agent.loop.agent import Agent, Stores, clear_folder
from edgefleet_agent.loop.identity import load_identity
from edgefleet_agent.loop.one_run import Workshop
from edgefleet_agent.loop.stopping import StopSwitch
from edgefleet_agent.loop.updating import Updating
from edgefleet_agent.loop.versions import Versions
from edgefleet_agent.measure.artifact import Bench
from edgefleet_agent.measure.subject import EngineStore
from edgefleet_agent.settings import AgentSettings, load_settings, state_directory
from edgefleet_agent.spool import Spool

log = logging.getLogger(__name__)

EXIT_REFUSED = 4
EXIT_UPDATED = 75
"""EX_TEMPFAIL of sysexits.h: another version was installed; whoever keeps the agent running starts it again."""
EXIT_INTERRUPTED = 130


def serve(options: argparse.Namespace) -> int:
    """Serve a controller until stopped: SIGTERM or SIGINT ends after the current run, a second one at once."""
    versions = Versions(state_directory(options.state_dir))
    versions.hand_over(sys.argv[1:])
    once = 1 if options.once else None

    def act(agent: Agent, updating: Updating) -> int:
        return EXIT_UPDATED if agent.serve(max_runs=once, updating=updating) else 0

    return _with_agent(options, versions, act)


def enrol(options: argparse.Namespace) -> int:
    """Enrol this board and end, so that the service that is started next needs no join token."""

    def act(agent: Agent, _updating: Updating) -> int:
        print("enrolled as " + agent.enrol())
        return 0

    return _with_agent(options, Versions(state_directory(options.state_dir)), act)


def update(options: argparse.Namespace) -> int:
    """Install another version beside the present one; it takes over when the agent is started next."""
    wheel: Path = options.wheel
    if options.sha256 is not None and hashlib.sha256(wheel.read_bytes()).hexdigest() != options.sha256:
        raise UpdateFailed("{} is another file than was announced; fetch it again".format(wheel.name))
    state = state_directory(options.state_dir)
    version = Versions(state).install(wheel)
    print("version {} is installed; restart the agent: it goes back if the new one does not check in".format(version))
    return 0


def _with_agent(options: argparse.Namespace, versions: Versions, act: Callable[[Agent, Updating], int]) -> int:
    logging.getLogger("edgefleet_agent").setLevel(logging.INFO)
    state = state_directory(options.state_dir)
    state.mkdir(parents=True, exist_ok=True)
    settings = _settings(options, state)
    stop = StopSwitch()
    _handle_signals(stop)
    try:
        with only_agent_in(state), open_http(settings) as http:
            workshop = _workshop(settings, state, stop)
            client = ControllerClient(http, timeout_s=settings.timeout_s)
            agent = Agent(client, settings, Stores(state, Spool(state / "spool")), workshop)
            return act(agent, Updating(state, versions, workshop.cache, stop))
    except (CredentialRefused, UpgradeNeeded) as err:
        print("edgefleet-agent: {}: {}".format(err.code, err), file=sys.stderr)
        return EXIT_REFUSED
    except DrainRequested:
        return 0
    except KeyboardInterrupt:
        print("edgefleet-agent: stopped at once; an unfinished run is left to its lease", file=sys.stderr)
        return EXIT_INTERRUPTED


def _settings(options: argparse.Namespace, state: Path) -> AgentSettings:
    given = {name: getattr(options, name) for name in ("controller", "join_token", "name", "sensors", "ca_file")}
    settings = load_settings(state, given)
    if settings.controller is not None:
        return settings
    identity = load_identity(state)
    if identity is None:
        raise SettingsInvalid("no controller is known; give --controller URL and --join-token TOKEN")
    return settings.model_copy(update={"controller": identity.controller})


def _workshop(settings: AgentSettings, state: Path, stop: StopSwitch) -> Workshop:
    sensors = usable_sensors(settings.sensors)
    inventory = take_inventory(settings, sensors=[json.loads(spec.to_json()) for spec in sensors])
    return Workshop(
        cache=ArtifactCache(state / "cache", settings.cache_free_bytes),
        inventory=inventory,
        bench=Bench(
            meter=best_meter(sensors),
            work_directory=clear_folder(state / "work"),
            engines=EngineStore(state / "engines", settings.engine_cache_bytes, settings.cache_free_bytes),
        ),
        retry=RetryPolicy(),
        rng=random.Random(),
        stop=stop,
    )


def _handle_signals(stop: StopSwitch) -> None:
    def on_signal(_number: int, _frame: Optional[FrameType]) -> None:
        if stop.is_set:
            raise KeyboardInterrupt
        stop.request()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


@contextmanager
def only_agent_in(state: Path) -> Iterator[None]:
    """Hold the state folder; raises SettingsInvalid when another agent does."""
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as err:
        raise SettingsInvalid("another agent uses {}; stop it or choose another --state-dir".format(state)) from err
    finally:
        os.close(descriptor)
