"""Resumes the work of dead workers and begins again what the engine lost. Every worker runs one; one of them leads."""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from edgefleet_controller.clock import Clock
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.database_clock import database_now
from edgefleet_controller.db.tables import Job
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs.closing import close_if_done, stop_job
from edgefleet_controller.jobs.events import record_event
from edgefleet_controller.runs.followers import settle_variant
from edgefleet_controller.workers import repository

LEADERSHIP = "watchdog"
MAX_RESTARTS = 3
"""How often a job whose tasks were lost is begun again before it fails."""
JOBS_A_ROUND = 100
PURGE_INTERVAL = timedelta(hours=1)
KEEP_GONE_WORKERS = timedelta(days=7)

log = logging.getLogger(__name__)


class WatchedEngine(Protocol):
    """What the watchdog asks of the engine."""

    def take_back(self, executor_id: str) -> Sequence[str]:
        """Queue again what this executor was running when it died."""
        ...

    def live_jobs(self, job_ids: Sequence[str]) -> Collection[str]:
        """Those of the jobs that have a task which waits or runs."""
        ...

    def restart_job(self, job_id: str, priority: int, begun_again: int) -> None:
        """Forget what was done for the job and begin again."""
        ...

    def purge(self, ended_before: datetime) -> int:
        """Delete records of tasks that ended before."""
        ...


@dataclass(frozen=True)
class WatchRules:
    """Durations in seconds; a worker that was silent for ``timeout_s`` is dead."""

    interval_s: float = 10.0
    timeout_s: float = 60.0
    retention_s: float = 14 * 86400.0

    @property
    def lease(self) -> timedelta:
        """How long a leader leads without saying so again."""
        return timedelta(seconds=3 * self.interval_s)


class Watchdog:
    """One worker's watch over all of them. ``round`` may be called at any time; it acts only while it leads."""

    def __init__(
        self, database: Database, engine: WatchedEngine, clock: Clock, *, holder: str, rules: WatchRules
    ) -> None:
        self._database = database
        self._engine = engine
        self._clock = clock
        self._holder = holder
        self._rules = rules
        self._suspects: frozenset[str] = frozenset()
        self._purged_at: datetime | None = None

    def run(self, stop: threading.Event) -> None:
        """A round every interval until told to stop."""
        while not stop.wait(self._rules.interval_s):
            try:
                self.round()
            except Exception:  # one failed round must not end all later ones
                log.exception("the watchdog's round failed; the next is in %g s", self._rules.interval_s)

    def round(self) -> None:
        """Look after dead workers, lost jobs and old records, if this one leads."""
        with self._database.writing() as session:
            now = database_now(session)
            since = repository.lead(session, LEADERSHIP, self._holder, now, self._rules.lease)
        if since is None:
            self._suspects = frozenset()
            return
        # while nobody led, or the store was away, living workers may have been silent through no fault of theirs
        if now - since >= timedelta(seconds=self._rules.timeout_s):
            self._bury_the_silent()
        self._take_back_leftovers()
        self._begin_lost_jobs_again()
        self._settle()
        self._purge()

    def _bury_the_silent(self) -> None:
        timeout = timedelta(seconds=self._rules.timeout_s)
        with self._database.reading() as session:
            silent = repository.silent_since(session, database_now(session) - timeout)
        for name in silent:
            with self._database.writing() as session:
                row = repository.find_locked(session, name)
                if row is None or row.state != "active" or row.heartbeat_at >= database_now(session) - timeout:
                    continue
                taken = self._engine.take_back(name)
                row.state = "dead"
            log.warning("worker %s is dead; %d of its tasks are queued again", name, len(taken))

    def _take_back_leftovers(self) -> None:
        """What a worker took in the moment it ended, or what a leader that died had not yet queued again."""
        with self._database.reading() as session:
            gone = repository.gone(session)
        for name in gone:
            with self._database.writing() as session:
                row = repository.find_locked(session, name)
                if row is not None and row.state != "active" and (taken := self._engine.take_back(name)):
                    log.warning("%d more tasks of worker %s are queued again", len(taken), name)

    def _begin_lost_jobs_again(self) -> None:
        """Jobs with work to do and no task that would do it, in two rounds one after the other."""
        with self._database.reading() as session:
            before = repository.jobs_with_work(session)[:JOBS_A_ROUND]
        live = self._engine.live_jobs(before) if before else ()
        with self._database.reading() as session:
            after = set(repository.jobs_with_work(session))
        lost = frozenset(job_id for job_id in before if job_id in after and job_id not in live)
        for job_id in sorted(lost & self._suspects):
            self._begin_again(job_id)
        self._suspects = lost - self._suspects

    def _begin_again(self, job_id: str) -> None:
        with self._database.writing() as session:
            job = jobs.find_locked(session, job_id)
            if job is None or job.state not in ("queued", "running"):
                return
            if job.n_restarts >= MAX_RESTARTS:
                stop_job(session, job, _work_lost(job))
                return
            job.n_restarts += 1
            message = f"the engine had lost the job's tasks; begun again for the {job.n_restarts}. time"
            record_event(session, job_id, "begun_again", message)
            priority, n_restarts = jobs.turn_of(session, job_id), job.n_restarts
        self._engine.restart_job(job_id, priority, n_restarts)

    def _settle(self) -> None:
        """End what has ended without anybody noticing."""
        with self._database.reading() as session:
            unsettled = [run.id for run in repository.runs_of_unsettled_variants(session)]
            finished = repository.jobs_without_work(session)
        for run_id in unsettled:
            with self._database.writing() as session:
                settle_variant(session, repository.find_run(session, run_id))
        for job_id in finished:
            with self._database.writing() as session:
                close_if_done(session, job_id)

    def _purge(self) -> None:
        now = self._clock.now()
        if self._purged_at is not None and now - self._purged_at < PURGE_INTERVAL:
            return
        self._purged_at = now
        n_deleted = self._engine.purge(now - timedelta(seconds=self._rules.retention_s))
        with self._database.writing() as session:
            repository.forget_gone(session, database_now(session) - KEEP_GONE_WORKERS)
        if n_deleted:
            log.info("deleted the records of %d old tasks", n_deleted)


def _work_lost(job: Job) -> dict[str, object]:
    return {
        "code": "work_lost",
        "message": f"The engine lost the job's tasks {job.n_restarts + 1} times; the workers' logs say why. Submit it again.",
        "detail": {"restarts": job.n_restarts},
    }


def start_thread(work: Callable[[], None], name: str) -> threading.Thread:
    """Run the work beside the tasks; it ends with the process."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
