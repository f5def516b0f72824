"""Documents of ``/v1/studies``."""

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_compression.search.deriving import Technique
from edgefleet_compression.search.fidelity import Ladder
from edgefleet_compression.search.objectives import Constraint, Metric, Objective
from edgefleet_compression.search.study import SamplerName
from edgefleet_controller.dispatch.requirements import Requirement
from edgefleet_controller.jobs.fairness import Priority
from edgefleet_controller.jobs.placement import Compute

StudyState = Literal["queued", "running", "waiting", "checking", "cancelling", "cancelled", "completed", "failed"]
TrialState = Literal["running", "completed", "failed", "cancelled"]
Stage = Literal["analysis", "search", "check", "done"]
MAX_TRIALS = 10_000


def default_objectives() -> list[Metric | Objective]:
    """What a study is after where nothing is said."""
    return ["accuracy", "latency_p50_ms"]


class StudyCreate(BaseModel):
    """A search for recipes under constraints, on each kind of board apart."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = Field(default=None, min_length=1, max_length=100, description="name of the study")
    model: str = Field(min_length=1, max_length=128, description="identifier or name of a model")
    targets: list[str] = Field(
        default_factory=lambda: ["onnxruntime"],
        min_length=1,
        max_length=16,
        description="names of targets; a kind of board tries those that run on it",
    )
    devices: list[str] | None = Field(
        default=None, min_length=1, max_length=1000, description="names or identifiers; null for all active devices"
    )
    match: Requirement | None = Field(
        default=None, description="instead of `devices`: every active device that meets this requirement"
    )
    objectives: list[Metric | Objective] = Field(
        default_factory=default_objectives,
        min_length=1,
        max_length=8,
        description="figures to make as good as possible, at most four; each a name, or with the frame that counts",
    )
    constraints: list[str | Constraint] = Field(
        default_factory=list,
        max_length=16,
        description="bounds that a result has to keep, such as latency_p90_ms<=20 or retention>=0.99",
    )
    goals: list[str | Constraint] = Field(
        default_factory=list, max_length=16, description="bounds at which the search ends early"
    )
    space: dict[str, Any] | None = Field(
        default=None, description="what may be tried; null for the space that suits the model and the targets"
    )
    techniques: list[Technique] | None = Field(
        default=None, min_length=1, max_length=8, description="of the suitable space only these; null for all"
    )
    max_epochs: int = Field(default=4, ge=1, le=1000, description="of the suitable space: most epochs of one training")
    reuse: bool = Field(
        default=True, description="try first what was good in earlier studies of this project; with the suitable space"
    )
    n_trials: int = Field(
        default=30, ge=0, le=MAX_TRIALS, description="budget for each kind of board, in trials at full fidelity"
    )
    batch: int | None = Field(
        default=None, ge=1, le=256, description="trials at once on a kind of board; null for as many as it has devices"
    )
    order: Literal["fixed", "free"] = Field(
        default="fixed",
        description="fixed: the same course whichever trial ends first; free: no trial waits for another",
    )
    sampler: SamplerName = Field(default="tpe", description="how points are proposed")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the search and of its recipes")
    ladder: Ladder | None = Field(default=None, description="levels of fidelity; null: every trial in full")
    settings: MeasureSettings = Field(default_factory=MeasureSettings, description="how to measure at full fidelity")
    quick_seconds: float = Field(
        default=1.0, gt=0, le=60, description="length of the timed part at levels with quick measurement, seconds"
    )
    finalists: int = Field(
        default=4, ge=0, le=16, description="best recipes that are measured again in turns at the end; 0: none"
    )
    rounds: int = Field(default=3, ge=1, le=20, description="how often each of them is")
    compare: bool = Field(
        default=True, description="compare what is recommended with the uncompressed model in turns on physical devices"
    )
    priority: Priority = Field(default="normal", description="see the job's")
    compute: Compute = Field(default="auto", description="see the job's")
    deadline: AwareDatetime | None = Field(
        default=None, description="RFC 3339; the study ends then with what it has, see deadline_exceeded"
    )

    @model_validator(mode="after")
    def _names_or_matches(self) -> "StudyCreate":
        if self.match is not None and self.devices is not None:
            raise ValueError("name devices or say what they have to be, not both")
        return self


class TrialCounts(BaseModel):
    """Trials of a study by their state."""

    running: int = Field(default=0, description="trials whose job has not ended")
    completed: int = Field(default=0, description="trials with all figures")
    failed: int = Field(default=0, description="trials without, each with its cause")
    cancelled: int = Field(default=0, description="trials that were stopped with the study")


class StudySummary(BaseModel):
    """A study as lists show it."""

    id: str = Field(description="identifier, stu_...")
    name: str = Field(description="name")
    model_id: str = Field(description="identifier of the model")
    state: StudyState = Field(
        description="queued, running, waiting (for boards, see error), checking (finalists are measured again), "
        "cancelling, cancelled, completed or failed"
    )
    stage: Stage = Field(description="analysis, search, check or done")
    progress: float = Field(description="share done, 0 to 1")
    message: str = Field(description="what happened last")
    error: dict[str, Any] | None = Field(description="code, message and detail of why it waits or was stopped")
    trials: TrialCounts = Field(description="how many there are")
    created_at: datetime = Field(description="when it was submitted, UTC")
    started_at: datetime | None = Field(description="when work began, UTC")
    finished_at: datetime | None = Field(description="when it ended, UTC")
    deadline_at: datetime | None = Field(description="when it is ended with what it has, UTC")
    version: int = Field(description="rises with every change; pass it as `since` to wait for the next")


class StudyView(StudySummary):
    """A study with what was asked for."""

    request: dict[str, Any] = Field(description="what was asked for")
    boards: list[dict[str, Any]] = Field(
        description="kinds of board, each with its devices, targets and search; without its own search: why"
    )
    analysis: dict[str, Any] | None = Field(description="what was known before the first trial; null until then")


class TrialView(BaseModel):
    """A trial: one recipe for one target at one level of fidelity, on one kind of board."""

    number: int = Field(description="position in the study, from 0")
    board: str = Field(description="kind of board")
    ordinal: int | None = Field(description="position in that board's search; null for the baseline")
    point: dict[str, Any] = Field(description="axis of the space -> value")
    fidelity: str = Field(description="level of the ladder")
    origin: str = Field(description="baseline, warm_start, sampled or promoted")
    promoted_from: int | None = Field(description="ordinal of the same point's trial one level below")
    recipe: dict[str, Any] = Field(description="the recipe")
    target: str = Field(description="target")
    state: TrialState = Field(description="running, completed, failed or cancelled")
    job_id: str | None = Field(description="the job that it is; null where none could be made")
    values: dict[str, Any] = Field(description="metric -> value and standard error")
    feasible: bool | None = Field(description="whether all constraints are kept by the values; null without them")
    measurements: list[dict[str, Any]] = Field(description="each run with device, verdict, provenance and figures")
    cause: dict[str, Any] | None = Field(description="code and message of why it failed")
    created_at: datetime = Field(description="when it was proposed, UTC")
    finished_at: datetime | None = Field(description="when it ended, UTC")


class Trials(BaseModel):
    """A part of a study's trials, in their order."""

    items: list[TrialView] = Field(description="in their order")
    next_after: int | None = Field(description="pass as `after` for what follows; null when there is no more now")


class StudyEventView(BaseModel):
    """Something that happened in a study."""

    model_config = ConfigDict(from_attributes=True)
    id: int = Field(description="rising number")
    trial: int | None = Field(description="number of the trial it concerns")
    kind: str = Field(description="stable kind, such as trial_completed")
    message: str = Field(description="for a person")
    detail: dict[str, Any] = Field(description="for a program")
    created_at: datetime = Field(description="when, UTC")


class StudyEvents(BaseModel):
    """A part of a study's log, oldest first."""

    items: list[StudyEventView] = Field(description="oldest first")
    next_after: int | None = Field(description="pass as `after` for what follows; null when there is no more now")
