"""What happens without a request: leases end, held requests learn of others' writes, last-seen times are stored.

A controller with nothing to do asks its store one question a second, see ``lookout``.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from fastapi.concurrency import run_in_threadpool

from edgefleet_controller.analyses import service as analyses
from edgefleet_controller.analyses.analyst import QUEUED
from edgefleet_controller.blobs.garbage import Rules, collect
from edgefleet_controller.db.database import NEWS_TOPICS, Change
from edgefleet_controller.db.write_watch import WriteWatch
from edgefleet_controller.devices import repository as devices
from edgefleet_controller.devices import upkeep
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs import service as job_service
from edgefleet_controller.jobs import waiting
from edgefleet_controller.lookout import Lookout
from edgefleet_controller.regressions.delivery import deliver_due, next_due
from edgefleet_controller.regressions.events import REGRESSIONS
from edgefleet_controller.regressions.watch import watch_regressions
from edgefleet_controller.rollouts.rounds import move_rollouts
from edgefleet_controller.runs import repository as runs
from edgefleet_controller.runs import service as run_service
from edgefleet_controller.runs.rules import LeaseRules
from edgefleet_controller.services import Services
from edgefleet_controller.studies import repository as studies
from edgefleet_controller.studies.fleet import look_for_boards
from edgefleet_controller.studies.watching import (
    finish_stopped_studies,
    revive_lost_studies,
    start_due_turns,
    start_turn_of,
)

STRAGGLERS_S = 15.0
"""Interval of the look for variants that a killed process left without their end."""

ROLLOUT_SCANS = 5
"""Scans for work between two looks at rollouts, which nobody waits for."""

LOG = logging.getLogger(__name__)


class Sweeper:
    """The recurring work of one API process. Each method is one round and may be called at any time."""

    def __init__(self, services: Services, rules: LeaseRules) -> None:
        self._services = services
        self._rules = rules
        self._versions: dict[str, int] = {}
        self._has_messages = False

    async def run(self) -> None:
        """Work until cancelled."""
        services, settings, desk = self._services, self._services.settings, self._services.desk
        watch = WriteWatch(services.database.engine)
        looks = (
            self.wake_waiting,
            self.end_leases,
            self.finish_cancels,
            self.end_holds,
            self.release_jobs,
            self.end_overdue_jobs,
            self.move_rollouts,
            self.wake_analyst,
            self.watch_regressions,
            self.find_messages,
            self.start_study_turns,
            self.finish_stopped_studies,
            self.look_for_study_boards,
        )

        def glance() -> str:
            desk.wake_free(returned=True)
            return watch.mark()

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Lookout(glance, looks, services.clock).run(settings.scan_interval_s))
                tasks.create_task(_repeat(self.flush_heartbeats, settings.heartbeat_flush_s, desk.heartbeats.is_due))
                tasks.create_task(
                    _repeat(
                        desk.aftermath.write, settings.aftermath_s or settings.scan_interval_s, desk.aftermath.is_due
                    )
                )
                tasks.create_task(_repeat(desk.aftermath.settle_stragglers, STRAGGLERS_S))
                tasks.create_task(
                    _repeat(self.flush_presence, settings.presence_flush_s, services.presence.has_unsaved)
                )
                tasks.create_task(_repeat(self.restart_queued_jobs, settings.restart_queued_after_s))
                tasks.create_task(_repeat(self.revive_lost_studies, settings.restart_queued_after_s))
                tasks.create_task(_repeat(self.deliver_messages, settings.scan_interval_s, lambda: self._has_messages))
                tasks.create_task(_repeat(self.collect_garbage, settings.gc_interval_s))
        finally:
            watch.close()

    def wake_waiting(self) -> None:
        """Wake held requests about which another process wrote; a few queries however many wait."""
        wakeups = self._services.wakeups
        self._services.desk.scan()
        waiting_jobs = {key.removeprefix("job:") for key in wakeups.keys_of("job")}
        versions: dict[str, int] = {}
        if waiting_jobs:
            with self._services.database.reading() as session:
                versions = jobs.versions(session, waiting_jobs)
        for key in wakeups.keys_of("comparison"):
            wakeups.notify(key)  # it looks again; few wait for comparisons
        waiting_studies = {key.removeprefix("study:") for key in wakeups.keys_of("study")}
        if waiting_studies:
            with self._services.database.reading() as session:
                versions |= studies.versions(session, waiting_studies)
        for identifier, version in versions.items():
            if self._versions.get(identifier) != version:
                wakeups.notify(f"{'study' if identifier in waiting_studies else 'job'}:{identifier}")
        self._versions = versions

    def flush_heartbeats(self) -> None:
        """Store the leases that heartbeats extended."""
        self._services.desk.heartbeats.flush()

    def end_leases(self) -> datetime | None:
        """Take back leases that ran out, and fail what revoked devices will never do; when the next one runs out."""
        self.flush_heartbeats()  # else a lease could run out here that memory has extended
        now = self._services.clock.now()
        with self._services.database.reading() as session:
            ends_at = runs.next_end_of_lease(session)
            is_due = (ends_at is not None and ends_at < now) or runs.has_stranded(session)
        if is_due:
            with self._services.database.writing() as session:
                run_service.expire_leases(session, self._rules)
                run_service.withdraw_revoked(session)
        return ends_at

    def end_holds(self) -> datetime | None:
        """Give boards runs again whose hold has come to its end; when the next one ends."""
        with self._services.database.reading() as session:
            ends_at = upkeep.next_end_of_hold(session)
        if ends_at is not None and ends_at <= self._services.clock.now():
            with self._services.database.writing() as session:
                upkeep.release_ended_holds(session)
        return ends_at

    def finish_cancels(self) -> None:
        """Close cancelled jobs that no agent works on any more."""
        with self._services.database.reading() as session:
            job_ids = jobs.cancelling_without_lease(session)
        for job_id in job_ids:
            self._services.engine.cancel_job(job_id)
            with self._services.database.writing() as session:
                job_service.finish_cancel(session, job_id)

    def release_jobs(self) -> None:
        """Begin jobs that waited for others."""
        with self._services.database.reading() as session:
            job_ids = waiting.find_waiting(session)
        for job_id in job_ids:
            with self._services.database.writing() as session:
                waiting.release(session, job_id)

    def end_overdue_jobs(self) -> datetime | None:
        """Stop jobs whose deadline is over; the next deadline."""
        with self._services.database.reading() as session:
            deadline_at = waiting.next_deadline(session)
            if deadline_at is None or deadline_at > self._services.clock.now():
                return deadline_at
            job_ids = waiting.find_overdue(session, self._services.clock.now())
        for job_id in job_ids:
            with self._services.database.writing() as session:
                waiting.end_overdue(session, job_id)
        return deadline_at

    def wake_analyst(self) -> datetime | None:
        """Wake who carries out analyses, if another process asked for one or fell silent over one; when one would have."""
        with self._services.database.reading() as session:
            has_work, silent_at = analyses.has_work(session), analyses.next_silence(session)
        if has_work:
            self._services.wakeups.notify(QUEUED)
        return silent_at

    def flush_presence(self) -> None:
        """Store when devices were last heard of, in one transaction."""
        seen = self._services.presence.take_unsaved()
        if not seen:
            return
        try:
            with self._services.database.writing() as session:
                devices.store_sightings(session, seen)
        except Exception:
            self._services.presence.put_back(set(seen))
            raise

    def collect_garbage(self) -> None:
        """Remove stored files that nothing names, and raw samples past their retention."""
        services = self._services
        collect(services.database, services.blobs, Rules.from_settings(services.settings), dry_run=False)

    def move_rollouts(self) -> datetime | None:
        """Take the updates of agents on, and remember which boards are due; when to look again while any is open."""
        if not move_rollouts(self._services):
            return None
        return self._services.clock.now() + ROLLOUT_SCANS * timedelta(seconds=self._services.settings.scan_interval_s)

    def watch_regressions(self) -> datetime | None:
        """Look for changes in what was measured again; when to look at results that are too young now."""
        return watch_regressions(self._services)

    def find_messages(self) -> datetime | None:
        """Note whether messages to webhooks are due; when the next one is. Sending has a round of its own: it may take long."""
        due_at = next_due(self._services)
        self._has_messages = due_at is not None and due_at <= self._services.clock.now()
        return due_at

    def deliver_messages(self) -> None:
        """Tell webhooks of changes; a message that is not taken is tried again later."""
        self._has_messages = False
        deliver_due(self._services)

    def start_study_turns(self) -> datetime | None:
        """Let studies go on whose trials ended, or whose time to look again has come; when the next one's comes."""
        return start_due_turns(self._services)

    def look_for_study_boards(self) -> datetime | None:
        """Let studies wait whose boards are all away; when to look again while any is open."""
        return look_for_boards(self._services)

    def finish_stopped_studies(self) -> None:
        """Cancel the jobs of studies that were stopped, and end those that have none left."""
        finish_stopped_studies(self._services)

    def revive_lost_studies(self) -> None:
        """Go on with studies whose task was lost."""
        revive_lost_studies(self._services)

    def restart_queued_jobs(self) -> None:
        """Hand jobs to the engine again that it did not take, because one of the two was down at that moment."""
        moment = self._services.clock.now() - timedelta(seconds=self._services.settings.restart_queued_after_s)
        with self._services.database.reading() as session:
            job_ids = jobs.queued_before(session, moment)
        for job_id in job_ids:
            start_job(self._services, job_id)


def start_job(services: Services, job_id: str) -> None:
    """Hand a queued job to the engine, with the turn that its first variant has."""
    with services.database.reading() as session:
        priority = jobs.turn_of(session, job_id)
    services.engine.start_job(job_id, priority)


async def _repeat(work: Callable[[], None], interval_s: float, is_due: Callable[[], bool] = lambda: True) -> None:
    """Do the work again and again; ``is_due`` is asked first and costs no thread."""
    while True:
        await asyncio.sleep(interval_s)
        if not is_due():
            continue
        try:
            await run_in_threadpool(work)
        except Exception:  # one failed round must not end all later ones
            LOG.exception("%s failed; it is tried again in %g s", work.__name__, interval_s)


def make_listener(services: Services) -> Callable[[Change], None]:
    """Tell held requests and the engine of what was committed in this process."""

    def on_change(change: Change) -> None:
        if change.topic in ("job", "comparison", "study"):
            services.wakeups.notify(f"{change.topic}:{change.key}")
        if change.topic in ("job", "comparison"):
            return
        if change.topic == "regression":
            services.wakeups.notify(REGRESSIONS)
            return
        if change.topic in NEWS_TOPICS:
            services.desk.hear(change)
            return
        actions: dict[str, Callable[[str], None]] = {
            "job_created": lambda job_id: start_job(services, job_id),
            "job_cancelled": services.engine.cancel_job,
            "study": lambda study_id: start_turn_of(services, study_id),
        }
        try:
            actions[change.topic](change.key)
        except Exception:  # the change is committed and must be answered as done; the sweeper makes up for it
            LOG.exception("the engine did not take %s of %s", change.topic, change.key)

    return on_change
