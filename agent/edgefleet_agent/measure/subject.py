"""What is measured, and with which tools."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional

from edgefleet_agent.measure.child_process import default_interpreter
from edgefleet_agent.measure.environment import read_conditions
from edgefleet_agent.measure.meter import EnergyMeter, NoSensor
from edgefleet_agent.measure.runtimes import RUNTIMES, Runtime
from edgefleet_agent.sensors.clock import Clock, MonotonicClock
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.report import BlobRef, Conditions

OnPhase = Callable[[str, float], None]
"""Told of every phase and the seconds of silence it begins with, and again now and then while it lasts. It may raise."""


def _ignore_phase(phase: str, silent_for_s: float) -> None:
    """For callers who do not follow."""


@dataclass(frozen=True)
class Limits:
    """How long a runner may say nothing. Seconds."""

    start_s: float = 60.0
    load_s: float = 300.0
    evaluate_s: float = 120.0
    margin_s: float = 30.0
    keepalive_s: float = 10.0


@dataclass(frozen=True)
class Subject:
    """What to measure, and how. ``manifest``: the artifact's (edgefleet_deploy.manifest), empty where there is none."""

    path: Path
    artifact: BlobRef
    runtime: str
    settings: MeasureSettings = field(default_factory=MeasureSettings)
    interpreter: str = field(default_factory=default_interpreter)
    evaluation_path: Optional[Path] = None
    golden_path: Optional[Path] = None
    manifest: JsonObject = field(default_factory=dict)
    options: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class EngineStore:
    """Where engines built on this device are kept for later runs, and how much room they may take. Bytes."""

    folder: Path
    max_bytes: int = 2 * 1024**3
    free_floor_bytes: int = 256 * 1024**2


@dataclass(frozen=True)
class Bench:
    """The tools a measurement uses; tests exchange them. Without ``engines`` an engine is kept for one run only."""

    meter: EnergyMeter = field(default_factory=NoSensor)
    on_phase: OnPhase = _ignore_phase
    runtimes: Mapping[str, Runtime] = field(default_factory=lambda: RUNTIMES)
    extra_import_path: Sequence[Path] = ()
    limits: Limits = field(default_factory=Limits)
    read_conditions: Callable[[], Conditions] = read_conditions
    work_directory: Optional[Path] = None
    engines: Optional[EngineStore] = None
    clock: Clock = field(default_factory=MonotonicClock)
