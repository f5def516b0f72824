"""Collects what the page of a study shows, and what of it changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Study, StudyEvent
from edgefleet_controller.errors import NotFound
from edgefleet_controller.studies import repository, service
from edgefleet_controller.studies.reporting import report_of
from edgefleet_controller.studies.schemas import TrialView
from edgefleet_controller.web.charts import Axis, Chart, Mark, Point, Series, Table

JsonObject = dict[str, Any]
ChartName = Literal["front", "volume"]
N_EVENTS = 200
N_TRIALS = 500
"""Trials whose table is written whole; of more the newest are shown."""
PHYSICAL = "physical"
NUMBER = "trial"
"""Name of the axis of a search with one objective alone."""


@dataclass(frozen=True)
class Metric:
    """How a figure of a search is written. scale: what it is divided by for people."""

    label: str
    short: str
    is_share: bool = False
    scale: float = 1.0


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": Metric("accuracy", "Accuracy", is_share=True),
        "retention": Metric("accuracy over the uncompressed model's", "Kept", is_share=True),
        "size_bytes": Metric("file, kB", "kB", scale=1e3),
        "latency_p50_ms": Metric("median latency, ms", "p50 ms"),
        "latency_p90_ms": Metric("90th percentile of latency, ms", "p90 ms"),
        "latency_p50_ratio": Metric("median latency over a reference's", "p50 ratio"),
        "energy_mj": Metric("energy per inference, mJ", "mJ"),
        "peak_memory_bytes": Metric("peak memory, MB", "MB", scale=1e6),
    }
)


@dataclass(frozen=True)
class StudyPage:
    """What the page shows."""

    study: Study
    stage: str
    report: JsonObject
    trials: list[TrialView]
    events: list[StudyEvent]

    @property
    def is_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.study.state in repository.ENDED

    @property
    def boards(self) -> list[JsonObject]:
        """The kinds of board, as the report has them."""
        found: list[JsonObject] = self.report["boards"]
        return found

    @property
    def shown_trials(self) -> list[TrialView]:
        """The newest trials, newest first."""
        return list(reversed(self.trials))[:N_TRIALS]

    @property
    def metrics(self) -> list[str]:
        """Figures that some trial has."""
        return [name for name in METRICS if any(name in trial.values for trial in self.trials)]

    @property
    def n_ended(self) -> int:
        """Trials that ended: tells a changed chart."""
        return sum(trial.state != "running" for trial in self.trials)


def study_page(session: Session, study_id: str) -> StudyPage:
    """The page's content; NotFound if there is no such study."""
    study = service.find(session, study_id)
    return StudyPage(
        study=study,
        stage=service.stage_of(study),
        report=study.report or report_of(session, study),
        trials=service.trial_views(study, repository.trials_of(session, study.id)),
        events=repository.last_events(session, study.id, N_EVENTS),
    )


def chart_of(page: StudyPage, place: int, name: ChartName) -> Chart:
    """A chart of one kind of board, by its place in the report; NotFound for another place."""
    if not 0 <= place < len(page.boards):
        raise NotFound(f"The study has {len(page.boards)} kinds of board, none at {place}.")
    board = page.boards[place]
    return front_chart(board, page.trials) if name == "front" else volume_chart(board)


def front_chart(board: JsonObject, trials: Sequence[TrialView]) -> Chart:
    """The first two objectives of all completed trials on this kind of board; filled: nothing beats it."""
    objectives = [item["metric"] for item in board.get("objectives", ())]
    x, y = (*objectives[1:2], NUMBER)[0], (*objectives[:1], NUMBER)[0]
    own = [trial for trial in trials if trial.board == board["board"] and trial.state == "completed"]
    own = [trial for trial in own if trial.ordinal is not None and _has(trial, x) and _has(trial, y)]
    best = {entry["trial"] for entry in board.get("front", ())}
    groups = {"keeps the constraints": True, "breaks a constraint": False}
    series = [
        Series(name, "scatter", [_point(trial, x, y, board, best) for trial in own if trial.feasible is kept])
        for name, kept in groups.items()
    ]
    rows = [
        (trial.number, _words(trial), _value(trial, x), _value(trial, y), "yes" if trial.number in best else "no")
        for trial in own
    ]
    return Chart(
        _axis(x),
        _axis(y),
        [one for one in series if one.points],
        Table(["trial", "recipe", _axis(x).label, _axis(y).label, "on the front"], rows),
        marks=_bounds(board, x, y),
        nothing="No trial has completed yet",
    )


def volume_chart(board: JsonObject) -> Chart:
    """How much of the frame the feasible trials dominate, trial by trial."""
    points = [(entry["ordinal"] + 1, entry["share"]) for entry in board.get("hypervolume", ())]
    return Chart(
        Axis("trials", low=0.0),
        Axis("share of the frame that is dominated", "share", from_zero=True),
        [Series("hypervolume", "steps", [Point(number, share) for number, share in points])] if points else [],
        Table(["trials", "share of the frame"], points),
        nothing="No trial has ended yet",
    )


def _axis(name: str) -> Axis:
    if name == NUMBER:
        return Axis("trial")
    found = METRICS[name]
    return Axis(found.label, "share" if found.is_share else "value")


def _point(trial: TrialView, x: str, y: str, board: JsonObject, best: set[int]) -> Point:
    return Point(
        _value(trial, x),
        _value(trial, y),
        label=f"#{trial.number}",
        note=_words(trial),
        href=f"/jobs/{trial.job_id}" if trial.job_id else "",
        x_interval=_interval(trial, x),
        y_interval=_interval(trial, y),
        is_strong=trial.number in best,
        is_hatched=board["kind"] != PHYSICAL,
    )


def _has(trial: TrialView, name: str) -> bool:
    return name == NUMBER or name in trial.values


def _value(trial: TrialView, name: str) -> float:
    return float(trial.number) if name == NUMBER else float(trial.values[name]["value"]) / METRICS[name].scale


def _interval(trial: TrialView, name: str) -> tuple[float, float] | None:
    if name == NUMBER or not trial.values[name]["standard_error"]:
        return None
    half = 1.96 * float(trial.values[name]["standard_error"]) / METRICS[name].scale
    return _value(trial, name) - half, _value(trial, name) + half


def _words(trial: TrialView) -> str:
    return ", ".join(f"{name} {value}" for name, value in trial.point.items()) or str(trial.recipe["name"])


def _bounds(board: JsonObject, x: str, y: str) -> list[Mark]:
    found = []
    for text in board.get("constraints", ()):
        name, _, bound = text.split(" ")
        if name in (x, y):
            found.append(Mark(float(bound) / METRICS[name].scale, text, "x" if name == x else "y", "warn"))
    return found
