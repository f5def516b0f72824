"""Submits, shows and cancels comparisons of artifacts on devices."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from edgefleet_agent.wire.comparison import ComparisonPlan
from edgefleet_controller.comparisons import repository
from edgefleet_controller.comparisons.artifacts import Found, JsonObject, find_artifact
from edgefleet_controller.comparisons.errors import DeviceCannotCompare, RuntimeMissing
from edgefleet_controller.comparisons.schemas import ComparisonCreate, ComparisonView
from edgefleet_controller.comparisons.views import make_view, state_of
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.idempotency import begin_once, finish_once
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Comparison, Device, Run
from edgefleet_controller.devices import service as devices
from edgefleet_controller.errors import NotFound, StateForbids
from edgefleet_controller.pagination import Page, PageRequest
from edgefleet_controller.runs import service as runs
from edgefleet_controller.runs.followers import UNFINISHED

SUBMIT = "POST /v1/comparisons"
DEFAULT_AA_COMPARISONS = 20


@dataclass(frozen=True)
class Submission:
    """The answer to a submitted comparison; a replay did nothing."""

    comparison: ComparisonView
    is_replay: bool


def submit(session: Session, request: ComparisonCreate, idempotency_key: str | None) -> Submission:
    """Create a comparison, or answer again what was answered to this key before."""
    if idempotency_key is None:
        return Submission(view(session, create(session, request)), is_replay=False)
    stored = begin_once(session, idempotency_key, SUBMIT, request.model_dump_json())
    if stored is not None:
        return Submission(ComparisonView.model_validate(stored), is_replay=True)
    created = view(session, create(session, request))
    finish_once(session, idempotency_key, SUBMIT, 202, created.model_dump(mode="json"))
    return Submission(created, is_replay=False)


def create(session: Session, request: ComparisonCreate) -> Comparison:
    """A comparison with a queued run for each device; refuses what could never run, with the code that says why."""
    a = find_artifact(session, request.a, "a")
    b = None if request.b is None else find_artifact(session, request.b, "b")
    chosen = _choose_devices(session, request.devices, [found for found in (a, b) if found is not None])
    comparison = Comparison(
        id=new_id("cmp"),
        name=request.name or (f"{a.view.name} vs {b.view.name}" if b is not None else f"{a.view.name} vs itself"),
        kind=request.kind,
        a_sha256=a.view.sha256,
        b_sha256=(b or a).view.sha256,
        request=_resolved(request, a, b, chosen),
        created_at=now_of(session),
    )
    repository.add(session, comparison)
    order = _order(request, a, b)
    for device in chosen:
        runs.enqueue_comparison(session, comparison.id, device.id, order)
    return comparison


def find(session: Session, comparison_id: str) -> Comparison:
    """The comparison; NotFound if there is none."""
    comparison = repository.find(session, comparison_id)
    if comparison is None:
        raise NotFound(f"There is no comparison {comparison_id!r}; list them with `edgefleet comparisons`.")
    return comparison


def view(session: Session, comparison: Comparison) -> ComparisonView:
    """The comparison with its rows and their conditions."""
    session.flush()
    return make_view(comparison, repository.runs_of(session, [comparison.id]))


def page_of_views(session: Session, page: PageRequest) -> Page[ComparisonView]:
    """A page of comparisons, newest first, without the conditions."""
    rows, cursor = repository.page_of_comparisons(session, page)
    found = repository.runs_of(session, [row.id for row in rows])
    views = [
        make_view(row, [one for one in found if one.run.comparison_id == row.id], with_conditions=False) for row in rows
    ]
    return Page[ComparisonView](items=views, next_cursor=cursor)


def cancel(session: Session, comparison_id: str) -> Comparison:
    """Drop its queued runs and ask the agents that hold others to stop; StateForbids once it has ended."""
    comparison = find(session, comparison_id)
    states = [found.run.state for found in repository.runs_of(session, [comparison_id])]
    if not set(states) & set(UNFINISHED):
        state = state_of(states)
        if state == "cancelled":
            return comparison
        raise StateForbids(f"The comparison has {state} already; there is nothing to cancel.")
    runs.cancel_runs(session, Run.comparison_id == comparison_id)
    announce(session, "comparison", comparison_id)
    return comparison


def _choose_devices(session: Session, wanted: Sequence[str] | None, artifacts: Sequence[Found]) -> list[Device]:
    """The devices asked for, or all active ones that can compare these artifacts."""
    chosen = devices.choose(session, wanted)
    if wanted is None:
        able = [device for device in chosen if device.kind == "physical" and not _missing_runtimes(device, artifacts)]
        chosen = able or chosen[:1]
    for device in chosen:
        if device.kind != "physical":
            raise DeviceCannotCompare(
                f"Device {device.name} is {device.kind}: it measures no latency, so it cannot compare any; choose a "
                "physical device."
            )
        missing = _missing_runtimes(device, artifacts)
        if missing:
            raise RuntimeMissing(
                f"Device {device.name} has no {', '.join(missing)}; install it there, see `edgefleet-agent doctor`, or "
                "choose another device."
            )
    return chosen


def _missing_runtimes(device: Device, artifacts: Sequence[Found]) -> list[str]:
    has = {runtime["name"] for runtime in (device.facts or {}).get("runtimes", [])}
    return sorted({found.view.runtime for found in artifacts} - has)


def _order(request: ComparisonCreate, a: Found, b: Found | None) -> JsonObject:
    plan = ComparisonPlan(
        n_pairs=request.n_pairs,
        block_seconds=request.block_seconds,
        max_seconds=request.max_seconds,
        n_comparisons=request.n_comparisons or (DEFAULT_AA_COMPARISONS if request.kind == "aa" else 1),
    )
    # the inputs of one job's evaluation set are fed where both sides surely take them, else random numbers
    shared = a.evaluation if b is None or b.evaluation == a.evaluation else None
    return a.as_order() | {
        "evaluation": shared,
        "settings": request.settings.model_dump(mode="json"),
        "kind": request.kind,
        "second": None if b is None else b.as_order(),
        "comparison": plan.model_dump(mode="json"),
    }


def _resolved(request: ComparisonCreate, a: Found, b: Found | None, chosen: Sequence[Device]) -> JsonObject:
    return request.model_dump(mode="json") | {
        "artifact_a": a.view.model_dump(mode="json"),
        "artifact_b": None if b is None else b.view.model_dump(mode="json"),
        "device_ids": [device.id for device in chosen],
    }
