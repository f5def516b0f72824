"""Submits, follows and cancels jobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from sqlalchemy.orm import Session

from edgefleet_compression.errors import RecipeInvalid
from edgefleet_compression.presets import PRESETS
from edgefleet_compression.recipe import Recipe, parse_recipe, recipe_sha256
from edgefleet_controller.canonical import canonical_sha256
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.idempotency import begin_once, finish_once
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Device, Job, Model, Run, Study, Variant
from edgefleet_controller.devices import service as devices
from edgefleet_controller.errors import NotFound, StateForbids
from edgefleet_controller.jobs import repository
from edgefleet_controller.jobs.errors import (
    BoardMismatch,
    DeadlinePassed,
    DuplicateName,
    InvalidRecipe,
    UnknownRecipe,
    UnknownTarget,
)
from edgefleet_controller.jobs.events import mark_changed, record_event
from edgefleet_controller.jobs.placement import choose_compute
from edgefleet_controller.jobs.refusing import refuse_impossible
from edgefleet_controller.jobs.repository import ENDED
from edgefleet_controller.jobs.schemas import JobCreate, JobSummary, JobView, VariantView
from edgefleet_controller.jobs.sweep import refuse_too_many
from edgefleet_controller.jobs.turns import take_turns
from edgefleet_controller.jobs.waiting import dependencies_of, wait_for
from edgefleet_controller.models import service as models
from edgefleet_controller.runs import service as runs
from edgefleet_controller.runs.suitability import is_board_of
from edgefleet_controller.studies.turns import ask_turn
from edgefleet_deploy.targets import TARGETS

SUBMIT = "POST /v1/jobs"
IDLE_BECAUSE: Mapping[str, str] = MappingProxyType(
    {
        "registered": "has not enrolled yet; its runs wait until its agent starts with the join token",
        "pending": "waits to be accepted; its runs wait until `edgefleet device accept`",
        "held": "is held; its runs wait until `edgefleet device release`",
        "draining": "takes no more runs; its runs wait until `edgefleet device release`",
        "quarantined": "is in quarantine after failures; its runs wait until `edgefleet device release`",
    }
)
"""Why a device that a job may name takes no runs now."""


@dataclass(frozen=True)
class Submission:
    """The answer to a submitted job; a replay did nothing."""

    job: JobView
    is_replay: bool


def submit(session: Session, request: JobCreate, idempotency_key: str | None) -> Submission:
    """Create a job, or answer again what was answered to this key before."""
    return submit_once(session, SUBMIT, idempotency_key, request, lambda: create_job(session, request))


def submit_once(
    session: Session, operation: str, idempotency_key: str | None, request: BaseModel, create: Callable[[], Job]
) -> Submission:
    """What ``create`` makes, once for each key of the operation; the stored answer for a repetition."""
    if idempotency_key is None:
        return Submission(view(session, create()), is_replay=False)
    stored = begin_once(session, idempotency_key, operation, request.model_dump_json())
    if stored is not None:
        return Submission(JobView.model_validate(stored), is_replay=True)
    created = view(session, create())
    finish_once(session, idempotency_key, operation, 202, created.model_dump(mode="json"))
    return Submission(created, is_replay=False)


def create_job(session: Session, request: JobCreate, *, study: Study | None = None) -> Job:
    """A queued job with its variants, within a study's project if it is one of a study's.

    Refuses what could never run, with the code that says why.
    """
    model = models.choose(session, request.model)
    models.require_job_metric(model, request.metric)
    recipes = [choose_recipe(wanted) for wanted in request.recipes]
    _refuse_duplicates([recipe.name for recipe in recipes], "recipes")
    _refuse_duplicates(request.targets, "targets")
    for target in request.targets:
        if target not in TARGETS:
            raise UnknownTarget(f"No target is called {target!r}; the targets are {', '.join(sorted(TARGETS))}.")
    chosen = devices.choose(session, request.devices, request.match, request.any_of)
    _refuse_boards(request.targets, chosen)
    refuse_too_many(len(recipes) * len(request.targets) * (request.any_of or len(chosen)) * request.n_settings)
    job = _new_job(session, request, model, recipes, chosen)
    if study is not None:
        job.study_id, job.project_id = study.id, study.project_id
    variants = _variants(job, recipes, request.targets)
    for variant, recipe in zip(variants, (recipe for recipe in recipes for _ in request.targets), strict=True):
        variant.compute = choose_compute(session, request.compute, recipe)
    take_turns(session, job, variants, request.priority)
    impossible = refuse_impossible(model, variants, TARGETS)
    repository.add(session, job, *variants)
    wait_for(session, job, request.after)
    n_variants = len(recipes) * len(request.targets)
    swept = f", settings: {request.n_settings}" if request.n_settings > 1 else ""
    record_event(session, job.id, "submitted", f"variants: {n_variants}, devices: {len(chosen)}{swept}")
    for variant in impossible:
        error = variant.error or {}
        message = f"{variant.name}: {error['code']}: {error['message']}"
        record_event(session, job.id, "variant_failed", message, variant_id=variant.id, error=error)
    for device in chosen:
        if device.state in IDLE_BECAUSE:
            record_event(session, job.id, "device_not_ready", f"{device.name} {IDLE_BECAUSE[device.state]}")
    if job.state == "queued":
        announce(session, "job_created", job.id)
    return job


def find(session: Session, job_id: str) -> Job:
    """The job; NotFound if there is none."""
    job = repository.find(session, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id!r}; list them with `edgefleet job ls`.")
    return job


def view(session: Session, job: Job) -> JobView:
    """The job as the API shows it."""
    session.flush()
    session.refresh(job)
    variants = [VariantView.model_validate(variant) for variant in repository.variants_of(session, job.id)]
    after = dependencies_of(session, job.id)
    return JobView(**JobSummary.model_validate(job).model_dump(), request=job.request, after=after, variants=variants)


def request_cancel(session: Session, job_id: str) -> Job:
    """Ask for the end of a job; repeating it changes nothing. StateForbids once it has ended by itself."""
    job = repository.find_locked(session, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id!r}; list them with `edgefleet job ls`.")
    if job.state in ("cancelling", "cancelled"):
        return job
    if job.state in ENDED:
        raise StateForbids(f"The job has {job.state} already; there is nothing to cancel.")
    job.state, job.message = "cancelling", "is being cancelled"
    runs.cancel_runs(session, Run.job_id == job_id)
    record_event(session, job_id, "cancel_requested", "the job is being cancelled")
    announce(session, "job_cancelled", job_id)
    return job


def finish_cancel(session: Session, job_id: str) -> None:
    """Close a job that is being cancelled, once no agent works on it any more; failed if it was stopped for a reason."""
    job = repository.find_locked(session, job_id)
    if job is None or job.state != "cancelling":
        return
    runs.cancel_runs(session, Run.job_id == job_id)  # a step may have queued one in the meantime
    repository.cancel_variants(session, job_id)
    set_job_state(session, job_id, "cancelled" if job.error is None else "failed", job.error)


def set_job_state(session: Session, job_id: str, state: str, error: dict[str, Any] | None = None) -> Job:
    """Move the job; one that has ended stays as it is."""
    job = repository.find_locked(session, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id!r}.")
    if job.state in ENDED or job.state == state:
        return job
    job.state, job.message = state, state
    if state == "running":
        job.started_at = now_of(session)
    if state in ENDED:
        job.finished_at, job.progress, job.error = now_of(session), 1.0, error
        if job.study_id is not None:
            ask_turn(session, job.study_id)
    record_event(session, job_id, state, f"the job is {state}")
    return job


def set_progress(session: Session, job_id: str, progress: float, message: str) -> None:
    """Say how far the job is; it never goes back."""
    job = find(session, job_id)
    job.progress, job.message = max(job.progress, progress), message
    mark_changed(session, job_id)


def choose_recipe(wanted: str | dict[str, Any]) -> Recipe:
    """The preset of this name, or the recipe of this document; UnknownRecipe or InvalidRecipe with the broken rule's code."""
    if isinstance(wanted, str):
        if wanted not in PRESETS:
            raise UnknownRecipe(f"No preset is called {wanted!r}; the presets are {', '.join(PRESETS)}.")
        return PRESETS[wanted]
    try:
        return parse_recipe(wanted)
    except RecipeInvalid as err:
        problems = [
            {"field": f"recipe.{item['path']}", "message": item["message"], "kind": item["code"]}
            for item in err.detail.get("errors", [])
        ]
        raise InvalidRecipe(err.code, err.message, errors=problems) from err


def _refuse_boards(targets: Sequence[str], chosen: Sequence[Device]) -> None:
    """BoardMismatch for a target that runs on none of the devices; where it runs on some, only the others' runs fail."""
    for target in (TARGETS[name] for name in targets):
        if not any(is_board_of(target, device) for device in chosen):
            kinds = sorted({device.board for device in chosen})
            raise BoardMismatch(
                f"Target {target.name} runs on {', '.join(target.boards)}; the job's devices are {', '.join(kinds)}.",
                boards=list(target.boards),
            )


def _refuse_duplicates(names: Sequence[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DuplicateName(f"Named twice among the {what}: {', '.join(twice)}.")


def _new_job(
    session: Session, request: JobCreate, model: Model, recipes: Sequence[Recipe], chosen: Sequence[Device]
) -> Job:
    now = now_of(session)
    if request.deadline is not None and request.deadline <= now:
        raise DeadlinePassed(f"The deadline {request.deadline.isoformat()} is not in the future.")
    resolved = request.model_dump(mode="json") | {
        "device_ids": [] if request.any_of else [device.id for device in chosen]
    }
    return Job(
        id=new_id("job"),
        name=request.name or model.name,
        model_id=model.id,
        state="queued",
        request=resolved,
        progress=0.0,
        message="waits for a worker",
        created_at=now,
        deadline_at=request.deadline,
        identity_sha256=identity_of(request, model, recipes),
        version=1,
    )


def identity_of(request: JobCreate, model: Model, recipes: Sequence[Recipe]) -> str:
    """SHA-256 of what decides a job's artifacts, but for the versions of the tools, which the workers add to their keys."""
    document = {
        "model_sha256": model.blob_sha256,
        "data": model.data,
        "recipes": [recipe_sha256(recipe) for recipe in recipes],
        "seeds": [recipe.seed if request.seed is None else request.seed for recipe in recipes],
        "targets": list(request.targets),
    }
    return canonical_sha256(document)


def _variants(job: Job, recipes: Sequence[Recipe], targets: Sequence[str]) -> list[Variant]:
    pairs = [(recipe, target) for recipe in recipes for target in targets]
    return [
        Variant(
            id=new_id("var"),
            job_id=job.id,
            ordinal=ordinal,
            name=recipe.name if target == targets[0] else f"{recipe.name}@{target}",
            recipe=recipe.model_dump(mode="json"),
            recipe_sha256=recipe_sha256(recipe),
            target=target,
            state="queued",
        )
        for ordinal, (recipe, target) in enumerate(pairs)
    ]
