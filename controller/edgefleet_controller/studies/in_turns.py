"""The recommended file against the uncompressed model in turns, block by block: the speed-up that a report may name."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_controller.comparisons import repository as comparisons
from edgefleet_controller.comparisons import service
from edgefleet_controller.comparisons.schemas import ComparisonCreate, VariantReference
from edgefleet_controller.comparisons.views import make_view
from edgefleet_controller.db.tables import Device, Study, Trial, Variant
from edgefleet_controller.errors import ControllerError
from edgefleet_controller.runs.followers import UNFINISHED
from edgefleet_controller.studies.boards import PHYSICAL, BoardPlan
from edgefleet_controller.studies.events import record_event
from edgefleet_controller.studies.submitting import acting_for

JsonObject = dict[str, Any]
N_PAIRS = 100
MOST_SECONDS = 30.0


def start_comparison(
    session: Session, study: Study, plan: BoardPlan, job_ids: Sequence[str], baseline: Trial, chosen: Trial
) -> list[str]:
    """Identifiers of the comparison that was asked for; none where these boards, or these files, cannot be compared."""
    if plan.kind != PHYSICAL:
        return []
    names = {trial.number: _reference(session, job_ids, trial) for trial in (baseline, chosen)}
    settings = {name: study.request["settings"][name] for name in ("threads", "batch", "provider", "delegate", "seed")}
    try:
        with acting_for(study), session.begin_nested():
            request = ComparisonCreate.model_validate(
                {
                    "name": f"{study.name}: trial {chosen.number} against the uncompressed model"[:128],
                    "a": names[baseline.number],
                    "b": names[chosen.number],
                    "devices": list(_active(session, plan)),
                    "n_pairs": N_PAIRS,
                    "max_seconds": MOST_SECONDS,
                    "settings": settings,
                }
            )
            made = service.create(session, request)
            made.project_id = study.project_id
    except (ControllerError, ValueError) as err:
        message = f"{plan.name}: no comparison in turns: {err}"
        record_event(session, study.id, "not_compared", message)
        return []
    record_event(session, study.id, "comparing", f"{plan.name}: trial {chosen.number} in turns", comparison_id=made.id)
    return [made.id]


def is_over(session: Session, comparison_ids: Sequence[str]) -> bool:
    """Whether all runs of these comparisons have ended."""
    return all(found.run.state not in UNFINISHED for found in comparisons.runs_of(session, comparison_ids))


def cancel_comparisons(session: Session, comparison_ids: Sequence[str]) -> None:
    """Drop what has not ended of them."""
    for comparison_id in comparison_ids:
        if not is_over(session, [comparison_id]):
            service.cancel(session, comparison_id)


def compared(session: Session, comparison_ids: Sequence[str]) -> list[JsonObject]:
    """Each device's ratio of the recommended file's latency to the uncompressed model's, with its interval and verdict."""
    found = []
    for comparison_id in comparison_ids:
        row = comparisons.find(session, comparison_id)
        if row is None:
            continue
        view = make_view(row, comparisons.runs_of(session, [comparison_id]), with_conditions=False)
        for one in view.results:
            ratio = None if one.comparison is None else one.comparison.model_dump(mode="json")
            found.append(
                {
                    "comparison": comparison_id,
                    "device": one.device_name,
                    "state": one.state,
                    "latency_ratio": ratio,
                    "verdict": one.verdict.model_dump(mode="json"),
                }
            )
    return found


def _reference(session: Session, job_ids: Sequence[str], trial: Trial) -> VariantReference:
    """The trial's variant among the check's jobs; ValueError where it has none."""
    query = select(Variant).where(Variant.job_id.in_(job_ids), Variant.target == trial.target)
    for variant in session.scalars(query):
        if variant.recipe["name"] == trial.recipe["name"]:
            return VariantReference(job=variant.job_id, variant=variant.id)
    raise ValueError(f"trial {trial.number} was not measured again")


def _active(session: Session, plan: BoardPlan) -> Sequence[str]:
    named = select(Device.id).where(Device.id.in_(plan.device_ids), Device.state == "active")
    return session.scalars(named.order_by(Device.name)).all()
