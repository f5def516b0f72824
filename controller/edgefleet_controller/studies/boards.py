"""On which kinds of board a study searches, and what each of them can run and measure.

Boards of one kind share a search: whichever is free takes the next trial. Simulated boards are a kind of their own, so
that their figures meet no measured ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_compression.search.objectives import Metric
from edgefleet_controller.db.tables import Device, Model
from edgefleet_controller.devices import service as devices
from edgefleet_controller.dispatch.requirements import Requirement
from edgefleet_controller.dispatch.roster import Card, card_of
from edgefleet_controller.runs.suitability import is_board_of
from edgefleet_controller.studies.errors import NoBoardForStudy
from edgefleet_controller.studies.schemas import StudyCreate
from edgefleet_deploy.targets import TARGETS

JsonObject = dict[str, Any]
PHYSICAL = "physical"
NOT_TIMED = ("emulated", "replay")
"""Kinds of device whose times, memory and energy are not those of a board."""
OF_TIMED_RUNS: tuple[Metric, ...] = ("latency_p50_ms", "latency_p90_ms", "energy_mj", "peak_memory_bytes")


@dataclass(frozen=True)
class BoardPlan:
    """A kind of board of a study.

    spec: its search as the library reads it, None where it has none, with the reason in ``left_out``. is_any: whichever
    devices meet ``match`` take part, also later ones; else those of ``device_ids`` alone.
    """

    name: str
    board: str
    kind: str
    device_ids: tuple[str, ...]
    device_names: tuple[str, ...]
    targets: tuple[str, ...]
    is_any: bool
    match: JsonObject = field(default_factory=dict)
    unmeasurable: Mapping[Metric, str] = field(default_factory=dict)
    spec: JsonObject | None = None
    left_out: JsonObject | None = None

    @property
    def requirement(self) -> Requirement:
        """What a device has to be to take part."""
        return Requirement.model_validate({**self.match, "boards": [self.board], "kind": self.kind})

    @property
    def reference_target(self) -> str:
        """Where the uncompressed model runs: the first target that computes floats, else the first."""
        return next((name for name in self.targets if "fp32" in TARGETS[name].precisions), self.targets[0])

    def as_json(self) -> JsonObject:
        """JSON values that ``board_of`` reads."""
        return asdict(self)


def board_of(document: Mapping[str, Any]) -> BoardPlan:
    """The plan that ``as_json`` wrote."""
    listed = {name: tuple(document[name]) for name in ("device_ids", "device_names", "targets")}
    return BoardPlan(**{**document, **listed})


def plan_boards(session: Session, request: StudyCreate, model: Model) -> list[BoardPlan]:
    """The kinds of board among the devices that are asked for, in order of their names.

    NoBoardForStudy where none of them runs any target; NoDevices and UnknownDeviceNamed as for jobs.
    """
    chosen = devices.choose(session, request.devices, request.match)
    plans = [_plan(name, members, request, model) for name, members in _by_kind(chosen)]
    if not any(plan.left_out is None for plan in plans):
        kinds = ", ".join(sorted({device.board for device in chosen}))
        raise NoBoardForStudy(
            f"No target of {', '.join(request.targets)} runs on {kinds}; see which do with `edgefleet targets`."
        )
    return plans


def _by_kind(chosen: Sequence[Device]) -> Iterator[tuple[str, list[Device]]]:
    groups: dict[str, list[Device]] = {}
    for device in chosen:
        groups.setdefault(_name_of(device), []).append(device)
    yield from sorted(groups.items())


def _name_of(device: Device) -> str:
    board = _board_of(device)
    return board if device.kind == PHYSICAL else f"{board} ({device.kind})"


def _board_of(device: Device) -> str:
    """The accelerator where one is plugged in: it is what its targets are for."""
    merged = {**((device.facts or {}).get("labels") or {}), **(device.labels or {})}
    return str(merged.get("accelerator") or device.board)


def _plan(name: str, members: Sequence[Device], request: StudyCreate, model: Model) -> BoardPlan:
    targets = tuple(
        target for target in request.targets if any(is_board_of(TARGETS[target], device) for device in members)
    )
    cards = [card_of(device) for device in members]
    left_out = None
    if not targets:
        left_out = {"code": "no_target", "message": f"No target of the study runs on {name}."}
    return BoardPlan(
        name=name,
        board=_board_of(members[0]),
        kind=members[0].kind,
        device_ids=tuple(device.id for device in members),
        device_names=tuple(device.name for device in members),
        targets=targets,
        is_any=request.devices is None,
        match={} if request.match is None else request.match.document,
        unmeasurable=unmeasurable_on(name, cards, model),
        left_out=left_out,
    )


def unmeasurable_on(name: str, cards: Sequence[Card], model: Model) -> dict[Metric, str]:
    """Metric -> why nobody can measure it on these devices."""
    found: dict[Metric, str] = {
        "latency_p50_ratio": "a fleet's trials are not measured in turns with a reference; search for latency_p50_ms"
    }
    if model.data is None:
        why = f"model {model.name} has no data set with labels; register it again with --data"
        found |= {"accuracy": why, "retention": why}
    if not any(card.has_sensor for card in cards):
        found["energy_mj"] = f"no {name} has a power sensor that its agent found"
    if cards and all(card.kind in NOT_TIMED for card in cards):
        found |= dict.fromkeys(OF_TIMED_RUNS, f"{name} says nothing of a real board's time, memory or energy")
    return found
