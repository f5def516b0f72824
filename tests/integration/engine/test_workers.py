"""Worker processes on one PostgreSQL store: what stops when asked to, who takes what, who takes over.

One story in this order, because starting workers costs more than what they do here.
"""

import os
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from edgefleet_controller.db.tables import Job, Run, Variant

if TYPE_CHECKING:
    from tests.integration.engine.conftest import Site

TASKS = ("prepare_data", "compress", "compile")


def finish_cancel(site: "Site", job_id: str) -> str:
    """What the API's sweeper does each second."""
    from edgefleet_controller.jobs import service

    site.engine.cancel_job(job_id)
    with site.database.writing() as session:
        service.finish_cancel(session, job_id)
    return site.states(job_id)[0]


def test_a_job_cancelled_while_it_is_queued_never_runs(site: "Site") -> None:
    job_id = site.submit()
    site.cancel(job_id)
    site.start_worker("first")
    site.open_gate(*TASKS)
    other = site.submit("int8")
    site.wait_until(lambda: site.states(other)[1] == ["dispatched"], "the job that was not cancelled")
    assert finish_cancel(site, job_id) == "cancelled"
    assert [entry["recipe"] for entry in site.executions("compress")] == ["int8"]


@pytest.mark.parametrize("task", ["compress", "compile"])
def test_a_cancel_in_the_middle_of_a_step_ends_its_processes(site: "Site", task: str) -> None:
    site.open_gate(*TASKS)
    site.close_gate(task)
    before = len(site.executions(task))
    job_id = site.submit("prune50", no_cache=True)
    site.wait_until(lambda: len(site.executions(task)) > before and site.children(), f"the begin of {task}")
    site.cancel(job_id)
    site.wait_until(lambda: not site.children(), "the end of the step's processes")
    assert finish_cancel(site, job_id) == "cancelled"
    assert site.states(job_id)[1] == ["cancelled"]


def test_a_cancel_of_what_waits_for_boards_leaves_nothing_to_measure(site: "Site") -> None:
    site.open_gate(*TASKS)
    job_id = site.submit("int8")
    site.wait_until(lambda: site.states(job_id)[1] == ["dispatched"], "the dispatch")
    site.cancel(job_id)
    assert finish_cancel(site, job_id) == "cancelled"
    assert [run.state for run in site.rows(Run, Run.job_id == job_id)] == ["cancelled"]


def test_a_job_whose_tasks_were_lost_is_begun_again(site: "Site") -> None:
    """As after a failure of the store that no retry outlasted: the engine has ended its tasks, the job says running."""
    site.open_gate(*TASKS)
    site.close_gate("compress")
    job_id = site.submit("prune50-int8")
    site.wait_until(site.children, "the compression")
    site.engine.cancel_job(job_id)
    site.wait_until(lambda: not site.children(), "the loss")
    site.open_gate("compress")
    site.wait_until(lambda: site.states(job_id)[1] == ["dispatched"], "the job at the boards")
    assert site.rows(Job, Job.id == job_id)[0].n_restarts == 1
    assert "begun_again" in [event.kind for event in site.events(job_id)]


def test_steps_go_to_the_workers_of_their_queues(site: "Site") -> None:
    """A training that asks for a GPU waits for a worker with one; nobody else takes it."""
    site.forget_executions()
    job_id = site.submit("distill-int8", compute="gpu")
    assert site.rows(Variant, Variant.job_id == job_id)[0].compute == "gpu"
    other = site.submit("fp16")
    site.wait_until(lambda: site.states(other)[1] == ["dispatched"], "a later job that needs no GPU")
    assert [entry["recipe"] for entry in site.executions("compress")] == ["fp16"]
    site.start_worker("second", "jobs,cpu,gpu,compile")
    site.wait_until(lambda: site.states(job_id)[1] == ["dispatched"], "the training")
    assert [entry["recipe"] for entry in site.executions("compress")] == ["fp16", "distill-int8"]


def test_the_work_of_a_killed_worker_is_finished_by_the_other_and_nothing_is_done_twice(site: "Site") -> None:
    """kill -9 in mid-compress of the second recipe: the first candidate was made, and is not made again."""
    site.forget_executions()
    site.open_gate(*TASKS)
    done = site.submit("int8-dynamic")
    site.wait_until(lambda: site.states(done)[1] == ["dispatched"], "the first job at the boards, its children gone")
    site.close_gate("compress")
    job_id = site.submit("int8-weights")
    site.wait_until(lambda: len(site.executions("compress")) == 2, "the second compression's own entry")
    [child] = site.wait_until(site.children, "the second compression")
    killed = site.worker_of(child)
    name = site.name_of(killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    site.wait_until(lambda: not child.is_running(), "the end of the killed worker's child")

    def is_dead() -> bool:
        site.let_time_pass(name)
        return site.worker_state(name) == "dead"

    site.wait_until(is_dead, "the burial")
    site.open_gate("compress")

    site.wait_until(lambda: site.states(job_id)[1] == site.states(done)[1] == ["dispatched"], "both jobs at the boards")
    assert sorted(filter(None, map(site.worker_state, ("first", "second")))) == ["active", "dead"]
    # the interrupted one once more, or oftener (an execution is at least once); the finished one not
    compressed = [entry["recipe"] for entry in site.executions("compress")]
    assert (compressed.count("int8-dynamic"), compressed.count("int8-weights") >= 2) == (1, True), compressed
    assert len(site.executions("compile")) == 2
    assert site.executions("prepare_data") == []  # made for the first job of the model
    assert [len(site.rows(Run, Run.job_id == each)) for each in (done, job_id)] == [1, 1]
    site.wait_until(lambda: not site.children(), "no child of anybody")


def test_records_of_ended_tasks_are_deleted_and_jobs_stay(site: "Site") -> None:
    site.close_gate("compress")
    job_id = site.submit("prune50", no_cache=True)
    site.wait_until(site.children, "a compression")
    n_jobs = len(site.rows(Job))
    assert site.engine.purge(datetime(2026, 1, 1, tzinfo=UTC)) == 0
    assert site.engine.purge(datetime.now(UTC) + timedelta(days=1)) > n_jobs
    assert site.engine.purge(datetime.now(UTC) + timedelta(days=1)) == 0
    assert set(site.engine.live_jobs([job.id for job in site.rows(Job)])) == {job_id}
    assert len(site.rows(Job)) == n_jobs
    site.open_gate("compress")
    site.wait_until(lambda: site.states(job_id)[1] == ["dispatched"], "what was running goes on")
