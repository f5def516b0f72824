"""Studies: from the request over trials, which are jobs, to the report; kills, fleets that go away, and what is refused."""

import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from tests.integration.controller.conftest import (
    Device,
    Fleet,
    JsonObject,
    StartFleet,
    latency_blob,
    make_report,
)
from tests.integration.controller.test_comparisons import blocks_blob
from tests.integration.controller.test_comparisons import report_of as comparison_report

from edgefleet_controller.db.tables import Job, Model, Run, Study, Trial
from edgefleet_controller.jobs import service as jobs
from edgefleet_controller.studies import repository
from edgefleet_controller.studies.advancing import take_turn
from edgefleet_controller.studies.submitting import submit_trial
from edgefleet_controller.studies.watching import revive_lost_studies

SUBMIT = "edgefleet_controller.studies.trials.submit_trial"
SPEED_US = {"baseline": 4000, "fp32": 4000, "fp16": 3900, "int8": 1000, "int8-dynamic": 2000, "int8-weights": 3000}
"""Median latency of each format on the boards of these tests, microseconds."""
BYTES = {"baseline": 4000, "fp32": 4000, "fp16": 2000, "int8": 1200, "int8-dynamic": 1000, "int8-weights": 1100}
SPACE = {
    "axes": [
        {
            "kind": "categorical",
            "name": "format",
            "choices": [
                {"value": "fp32", "means": None},
                {"value": "fp16", "means": {"kind": "cast"}},
                {"value": "int8", "means": {"kind": "quantize"}},
                {"value": "int8-dynamic", "means": {"kind": "quantize", "activations": {"mode": "dynamic"}}},
                {"value": "int8-weights", "means": {"kind": "quantize", "activations": None}},
            ],
        }
    ],
    "passes": [{"spec": {"$axis": "format"}}],
}
SMALL: JsonObject = {
    "objectives": ["latency_p50_ms", "size_bytes"],
    "space": SPACE,
    "n_trials": 3,
    "finalists": 2,
    "rounds": 2,
    "seed": 3,
    "reuse": False,
    "compare": False,
}


def format_of(recipe: JsonObject) -> str:
    """Which choice of the space a recipe came of."""
    if recipe["name"] == "baseline":
        return "baseline"
    if not recipe["passes"]:
        return "fp32"
    first = recipe["passes"][0]
    if first["kind"] == "cast":
        return "fp16"
    activations = first["activations"]
    return "int8-weights" if activations is None else "int8-dynamic" if activations["mode"] == "dynamic" else "int8"


class Site:
    """A controller with boards that measure at once, and the engine's part done by hand."""

    def __init__(self, fleet: Fleet, n_devices: int = 1, **model: Any) -> None:
        self.fleet = fleet
        self.devices = [fleet.add_device(f"bench-{index + 1}") for index in range(n_devices)]
        self.model = fleet.post("/v1/models", {"name": "net", "blob_sha256": fleet.upload(b"model net"), **model})
        self.slowness: dict[str, float] = {}
        self.accuracy: JsonObject = {"value": 0.97, "n": 100, "n_correct": 97}

    def submit(self, **changes: Any) -> str:
        return str(self.fleet.post("/v1/studies", {"model": self.model["id"], **SMALL, **changes})["id"])

    def study(self, study_id: str) -> JsonObject:
        return self.fleet.get(f"/v1/studies/{study_id}")

    def trials(self, study_id: str) -> list[JsonObject]:
        found: list[JsonObject] = self.fleet.get(f"/v1/studies/{study_id}/trials")["items"]
        return found

    def report(self, study_id: str) -> JsonObject:
        return self.fleet.get(f"/v1/studies/{study_id}/report")

    def turn(self, study_id: str) -> bool:
        """What the worker does with the turn that is due; False where none is."""
        with self.fleet.services.database.reading() as session:
            due = repository.due_turn_of(session, study_id)
        if due is None:
            return False
        take_turn(self.fleet.services.database, study_id, due)
        return True

    def open_jobs(self, study_id: str) -> list[str]:
        with self.fleet.services.database.reading() as session:
            return list(repository.open_jobs(session, study_id))

    def measure(self, job_id: str) -> None:
        """Carry out a job: every variant on every board that it wants."""
        with self.fleet.services.database.writing() as session:
            jobs.set_job_state(session, job_id, "running")
        job = self.fleet.get(f"/v1/jobs/{job_id}")
        wanted = job["request"]["device_ids"] or [self.devices[0].device_id]
        pairs = [(index, device) for index in range(len(job["variants"])) for device in self._named(wanted)]
        for index, device in pairs:  # all runs first: a variant ends with its last run
            self._queue(job, index, device)
        for _, device in pairs:
            self._carry_out(job, device)

    def _named(self, device_ids: list[str]) -> list[Device]:
        return [device for device in self.devices if device.device_id in device_ids]

    def _queue(self, job: JsonObject, index: int, device: Device) -> None:
        variant = job["variants"][index]
        name = format_of(variant["recipe"])
        content = f"{name} {variant['target']} ".encode().ljust(BYTES[name], b".")
        self.fleet.enqueue(job, device, variant=index, content=content)

    def _carry_out(self, job: JsonObject, device: Device) -> None:
        order = device.order()
        recipes = {variant["id"]: variant["recipe"] for variant in job["variants"]}
        with self.fleet.services.database.reading() as session:
            variant_id = str(session.get_one(Run, order["run_id"]).variant_id)
        median_ns = int(1000 * SPEED_US[format_of(recipes[variant_id])] * self.slowness.get(device.name, 1.0))
        latencies = [median_ns + index % 100 for index in range(700)]
        blob = latency_blob(latencies)
        device.upload(blob)
        report = make_report(order["artifact"]["sha256"], blob, latencies, accuracy=self.accuracy)
        answer = device.report(order, report)
        assert answer.status_code == 200, answer.text

    def finish(self, study_id: str, *, before_turn: Callable[[], None] = lambda: None) -> JsonObject:
        """Take turns and measure until the study has ended; its report."""
        for _ in range(100):
            before_turn()
            is_moved = self.turn(study_id)
            waiting = self.open_jobs(study_id)
            for job_id in waiting:
                self.measure(job_id)
            if not is_moved and not waiting:
                break
        assert self.study(study_id)["state"] == "completed", self.study(study_id)
        return self.report(study_id)


def without_names(report: JsonObject) -> JsonObject:
    """A report without what differs between two stores: identifiers of rows and times."""
    named = ("study", "model", "jobs", "runs", "run_id", "device_id", "verdicts")

    def clean(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: clean(item) for key, item in value.items() if key not in named}
        return [clean(item) for item in value] if isinstance(value, list) else value

    cleaned: JsonObject = clean(report)
    return cleaned


def test_a_study_goes_from_its_request_over_its_trials_to_its_report(each_fleet: Fleet) -> None:
    site = Site(each_fleet)
    answer = each_fleet.operator.post("/v1/studies", json={"model": "net", **SMALL})
    study_id = answer.json()["id"]
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/v1/studies/{study_id}")
    assert each_fleet.engine.turns == [(study_id, 1)]
    report = site.finish(study_id)
    board = report["boards"][0]
    assert [trial["origin"] for trial in site.trials(study_id)] == ["baseline", *["sampled"] * 3]
    assert (board["trials"]["completed"], board["finished"]["code"]) == (3, "budget_used")
    shares = [one["share"] for one in board["hypervolume"]]
    assert shares == sorted(shares)
    assert shares[-1] > 0
    best = board["recommended"]["trial"]
    assert board["recommended"]["by"] == "check"
    page = each_fleet.operator.get(f"/studies/{study_id}", headers={"Accept": "text/html"})
    assert (page.status_code, f"<strong>trial {best}</strong>" in page.text) == (200, True)
    drawn = each_fleet.get(f"/studies/{study_id}/charts/front")
    assert sum(len(series["points"]) for series in drawn["series"]) == 3
    assert each_fleet.operator.get(f"/studies/{study_id}/charts/volume?board=7").status_code == 404
    values = {trial["number"]: format_of(trial["recipe"]) for trial in site.trials(study_id)}
    tried = set(values.values()) - {"baseline"}
    distances = {name: math.hypot(SPEED_US[name] / 4000, BYTES[name] / 4000) for name in tried}
    assert values[best] == min(distances, key=lambda name: distances[name]), (
        "nearest to nothing, as shares of the baseline"
    )
    finalist = next(one for one in board["check"]["finalists"] if one["trial"] == best)
    assert finalist["devices"][0]["rounds"] == 2
    assert finalist["devices"][0]["speedup_p50"]["value"] == pytest.approx(4000 / SPEED_US[values[best]], rel=0.01)


def test_trials_are_jobs_of_the_study_that_asked_for_them(fleet: Fleet) -> None:
    site = Site(fleet)
    study_id = site.submit()
    site.finish(study_id)
    listed = fleet.get("/v1/jobs")["items"]
    assert {job["study_id"] for job in listed} == {study_id}
    assert len(listed) == 1 + 3 + 2, "the baseline, three trials, two rounds"


def test_the_same_key_makes_one_study(fleet: Fleet) -> None:
    site = Site(fleet)
    body = {"model": site.model["id"], **SMALL}
    answers = [fleet.operator.post("/v1/studies", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert len(fleet.get("/v1/studies")["items"]) == 1


LABELLED: JsonObject = {"kind": "packaged", "name": "digits"}


REFUSED: tuple[tuple[JsonObject, str], ...] = (
    ({"constraints": ["latency_p90_ms<=5", "latency_p90_ms>=6"]}, "constraints_contradict"),
    ({"constraints": ["size_bytes<=500"]}, "constraint_unreachable"),
    ({"constraints": ["retention>=0.99"]}, "objective_not_measurable"),
    ({"objectives": ["accuracy", "latency_p50_ms"]}, "objective_not_measurable"),
    ({"objectives": ["energy_mj", "size_bytes"]}, "objective_not_measurable"),
    ({"constraints": ["energy_mj<=3"]}, "objective_not_measurable"),
    ({"objectives": ["latency_p50_ms", "latency_p50_ms"]}, "objective_repeated"),
    ({"constraints": ["colour<=3"]}, "constraint_invalid"),
    ({"constraints": ["latency_p90_ms<=fast"]}, "constraint_invalid"),
    ({"constraints": ["latency_p90_ms<=inf"]}, "constraint_invalid"),
    ({"space": {"axes": 5}}, "space_invalid"),
    ({"n_trials": 0}, "budget_too_small"),
    ({"targets": ["nonsense"]}, "unknown_target"),
    ({"targets": ["tensorrt-8.2"]}, "no_board_for_study"),
    ({"devices": ["nonsense"]}, "unknown_device"),
    ({"model": "nonsense"}, "unknown_model"),
    ({"deadline": "2020-01-01T00:00:00Z"}, "deadline_passed"),
    ({"space": {"axes": [], "passes": [{"spec": {"$axis": "no"}}]}}, "axis_unknown"),
    ({"sampler": "crystal-ball"}, "invalid_request"),
    ({"ladder": {"levels": [{"name": "guess", "measurement": "estimated"}]}}, "fidelity_unsupported"),
)


def test_what_cannot_be_searched_is_refused_with_a_code(fleet: Fleet) -> None:
    site = Site(fleet)
    with fleet.services.database.writing() as session:
        stored = session.get_one(Model, site.model["id"])
        stored.facts = {**stored.facts, "n_parameters": 1000}  # at 8 bits no file of it has 500 bytes
    for change, code in REFUSED:
        answer = fleet.operator.post("/v1/studies", json={"model": site.model["id"], **SMALL, **change})
        assert (answer.status_code, answer.json()["code"]) == (422, code), f"{change}: {answer.text}"
    assert fleet.get("/v1/studies")["items"] == []


def test_a_share_above_one_is_out_of_reach(fleet: Fleet) -> None:
    site = Site(fleet, data=LABELLED)
    body = {"model": site.model["id"], **SMALL, "constraints": ["accuracy>=1.5"]}
    answer = fleet.operator.post("/v1/studies", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "constraint_unreachable")


def test_a_study_without_any_board_is_refused(fleet: Fleet) -> None:
    model = fleet.add_model()
    answer = fleet.operator.post("/v1/studies", json={"model": model["id"], **SMALL})
    assert (answer.status_code, answer.json()["code"]) == (422, "no_devices")


def test_a_kill_at_any_turn_changes_nothing_of_the_report(
    start_fleet: StartFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each turn dies once while it makes its jobs, and once after it committed, before the engine heard of it."""
    fleet = start_fleet()
    site = Site(fleet)
    undisturbed = without_names(site.finish(site.submit()))
    study_id = site.submit()
    n_killed = 0

    def dying(*arguments: Any, **fields: Any) -> Job:
        nonlocal n_killed
        submit_trial(*arguments, **fields)
        n_killed += 1
        raise KeyboardInterrupt

    def kill_first() -> None:
        with fleet.services.database.reading() as session:
            due = repository.due_turn_of(session, study_id)
        if due is None:
            return
        before = len(fleet.get("/v1/jobs")["items"])
        monkeypatch.setattr(SUBMIT, dying)
        killed = n_killed
        try:
            take_turn(fleet.services.database, study_id, due)
        except KeyboardInterrupt:
            assert len(fleet.get("/v1/jobs")["items"]) == before, "nothing of a killed transaction stays"
        assert n_killed <= killed + 1
        monkeypatch.setattr(SUBMIT, submit_trial)
        take_turn(fleet.services.database, study_id, due)
        take_turn(fleet.services.database, study_id, due)

    report = without_names(site.finish(study_id, before_turn=kill_first))
    assert n_killed >= 4
    assert report == undisturbed
    assert [trial["ordinal"] for trial in site.trials(study_id)] == [None, 0, 1, 2]


def test_a_turn_says_which_jobs_nobody_has_begun(fleet: Fleet) -> None:
    """Also those of a turn that was killed after it committed, so that the engine gets them at last."""
    site = Site(fleet)
    study_id = site.submit()
    first = take_turn(fleet.services.database, study_id, 1)
    assert list(first) == site.open_jobs(study_id)
    assert take_turn(fleet.services.database, study_id, 1) == first


def test_as_many_trials_run_at_once_as_there_are_boards(fleet: Fleet) -> None:
    site = Site(fleet, n_devices=3)
    study_id = site.submit(order="free", n_trials=5)
    site.turn(study_id)
    site.measure(site.open_jobs(study_id)[0])
    site.turn(study_id)
    assert len(site.open_jobs(study_id)) == 3
    site.measure(site.open_jobs(study_id)[1])
    site.turn(study_id)
    assert len(site.open_jobs(study_id)) == 3


def test_a_study_waits_while_no_board_takes_runs_and_goes_on_when_one_returns(fleet: Fleet) -> None:
    site = Site(fleet)
    study_id = site.submit()
    site.turn(study_id)
    site.measure(site.open_jobs(study_id)[0])
    fleet.post("/v1/devices/bench-1/hold", {"reason": "new fan"})
    site.turn(study_id)
    waiting = site.study(study_id)
    assert (waiting["state"], waiting["error"]["code"]) == ("waiting", "no_boards")
    fleet.post("/v1/devices/bench-1/release")
    fleet.clock.advance(60)
    fleet.sweeper.start_study_turns()
    assert site.finish(study_id)["boards"][0]["trials"]["completed"] == 3
    assert site.study(study_id)["error"] is None


def test_a_study_whose_boards_are_not_heard_of_says_so_until_one_is_back(fleet: Fleet) -> None:
    site = Site(fleet)
    study_id = site.submit()
    site.turn(study_id)
    fleet.sweeper.look_for_study_boards()
    assert site.study(study_id)["state"] == "running"
    fleet.clock.advance(3600)
    fleet.sweeper.look_for_study_boards()
    waiting = site.study(study_id)
    assert (waiting["state"], waiting["error"]["code"]) == ("waiting", "boards_away")
    site.devices[0].claim()
    fleet.sweeper.look_for_study_boards()
    assert (site.study(study_id)["state"], site.study(study_id)["error"]) == ("running", None)
    assert site.finish(study_id)["boards"][0]["trials"]["completed"] == 3


def test_at_its_deadline_a_study_ends_with_what_it_has(fleet: Fleet) -> None:
    site = Site(fleet)
    deadline = fleet.clock.now() + timedelta(hours=1)
    study_id = site.submit(deadline=deadline.isoformat())
    for _ in range(3):
        site.turn(study_id)
        site.measure(site.open_jobs(study_id)[0])
    site.turn(study_id)
    fleet.clock.advance(3601)
    fleet.sweeper.start_study_turns()
    for _ in range(2):
        fleet.sweeper.finish_stopped_studies()
        fleet.sweeper.finish_cancels()
    fleet.sweeper.finish_stopped_studies()
    ended = site.study(study_id)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "deadline_exceeded")
    board = site.report(study_id)["boards"][0]
    assert site.report(study_id)["partial"]
    assert len(board["front"]) >= 1
    assert board["recommended"]["by"] == "search"


def test_cancelling_ends_the_open_jobs_and_keeps_the_front(each_fleet: Fleet) -> None:
    fleet, site = each_fleet, Site(each_fleet)
    study_id = site.submit()
    for _ in range(3):
        site.turn(study_id)
        site.measure(site.open_jobs(study_id)[0])
    site.turn(study_id)
    for _ in range(2):
        assert fleet.operator.post(f"/v1/studies/{study_id}/cancel").json()["state"] == "cancelling"
    fleet.sweeper.finish_stopped_studies()
    fleet.sweeper.finish_cancels()
    fleet.sweeper.finish_stopped_studies()
    assert site.study(study_id)["state"] == "cancelled"
    assert site.open_jobs(study_id) == []
    assert [trial["state"] for trial in site.trials(study_id)] == ["completed"] * 3 + ["cancelled"]
    assert len(site.report(study_id)["boards"][0]["front"]) >= 1
    assert fleet.operator.post(f"/v1/studies/{study_id}/cancel").status_code == 202
    assert take_turn(fleet.services.database, study_id, 99) == {}


def test_a_completed_study_cannot_be_cancelled(fleet: Fleet) -> None:
    site = Site(fleet)
    study_id = site.submit(n_trials=1, finalists=0)
    site.finish(study_id)
    answer = fleet.operator.post(f"/v1/studies/{study_id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "state_forbids")


def test_a_trial_without_an_objective_fails_with_its_cause_and_the_others_go_on(fleet: Fleet) -> None:
    site = Site(fleet, data=LABELLED)
    study_id = site.submit(objectives=["accuracy", "latency_p50_ms"], finalists=0)
    site.turn(study_id)
    site.measure(site.open_jobs(study_id)[0])
    site.turn(study_id)
    site.accuracy = {"value": None, "reason": "no_labels"}
    site.measure(site.open_jobs(study_id)[0])
    site.accuracy = {"value": 0.97, "n": 100, "n_correct": 97}
    board = site.finish(study_id)["boards"][0]
    assert [(one["code"], len(one["trials"])) for one in board["failures"]] == [("objective_unknown", 1)]
    assert (board["trials"]["completed"], board["trials"]["failed"]) == (2, 1)


def test_a_baseline_without_figures_ends_the_study_before_any_trial(fleet: Fleet) -> None:
    site = Site(fleet, data=LABELLED)
    site.accuracy = {"value": None, "reason": "no_labels"}
    study_id = site.submit(objectives=["accuracy", "latency_p50_ms"])
    site.turn(study_id)
    site.measure(site.open_jobs(study_id)[0])
    site.turn(study_id)
    study = site.study(study_id)
    assert (study["state"], study["error"]["code"]) == ("failed", "frame_unknown")
    assert len(site.trials(study_id)) == 1


def test_where_nothing_keeps_the_constraints_the_report_says_how_near_it_came(fleet: Fleet) -> None:
    site = Site(fleet)
    study_id = site.submit(constraints=["latency_p50_ms<=0.5"], n_trials=5)
    board = site.finish(study_id)["boards"][0]
    assert (board["trials"]["feasible"], board["recommended"]["trial"]) == (0, None)
    assert "latency_p50_ms <= 0.5" in board["recommended"]["cause"]["message"]
    assert board["front"] == []
    nearest = next(trial for trial in site.trials(study_id) if trial["number"] == board["nearest"]["trial"])
    assert format_of(nearest["recipe"]) == "int8"


def test_boards_of_one_kind_that_disagree_are_named(fleet: Fleet) -> None:
    site = Site(fleet, n_devices=2)
    site.slowness = {"bench-2": 1.5}
    board = site.finish(site.submit(batch=1, devices=["bench-1", "bench-2"]))["boards"][0]
    found = board["check"]["finalists"][0]["disagreements"]
    assert [(one["metric"], one["low"], one["high"]) for one in found][:1] == [("latency_p50_ms", "bench-1", "bench-2")]
    assert found[0]["ratio"] == pytest.approx(1.5, rel=0.01)


def test_what_is_recommended_is_compared_with_the_uncompressed_model_in_turns(fleet: Fleet) -> None:
    site = Site(fleet)
    study_id = site.submit(n_trials=2, finalists=1, rounds=1, compare=True)
    while not fleet.get("/v1/comparisons")["items"]:
        assert site.turn(study_id)
        for job_id in site.open_jobs(study_id):
            site.measure(job_id)
    order, blob = site.devices[0].order(), blocks_blob()
    assert order["kind"] == "ab"
    site.devices[0].upload(blob)
    assert site.devices[0].report(order, comparison_report(order, blob)).status_code == 200
    fleet.clock.advance(10)
    fleet.sweeper.start_study_turns()
    board = site.finish(study_id)["boards"][0]
    [found] = board["check"]["in_turns"]
    assert (found["device"], found["latency_ratio"]["ratio"]) == ("bench-1", 0.5)


def test_two_studies_on_one_board_both_complete(fleet: Fleet) -> None:
    site = Site(fleet)
    first, second = site.submit(), site.submit(seed=4)
    for _ in range(40):
        moved = [site.turn(one) for one in (first, second)]
        waiting = [job_id for one in (first, second) for job_id in site.open_jobs(one)]
        for job_id in waiting:
            site.measure(job_id)
        if not any(moved) and not waiting:
            break
    assert [site.study(one)["state"] for one in (first, second)] == ["completed", "completed"]


def test_a_study_whose_task_was_lost_gets_another_turn(fleet: Fleet) -> None:
    site = Site(fleet)
    study_id = site.submit()
    revive_lost_studies(fleet.services)
    assert fleet.engine.turns[-1] == (study_id, 2), "the engine knows of no task for the first turn"
    site.turn(study_id)
    with fleet.services.database.writing() as session:
        for trial in session.scalars(select(Trial)):
            session.get_one(Job, trial.job_id).state = "completed"  # as if its turn had been forgotten
        study = session.get_one(Study, study_id)
        study.turn_taken = study.turn
    revive_lost_studies(fleet.services)
    assert fleet.engine.turns[-1][1] > 2
