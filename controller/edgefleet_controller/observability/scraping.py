"""What is looked up in store and memory when somebody scrapes: a few queries, however large the fleet is."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgefleet_controller.auth.caller import acting_as
from edgefleet_controller.db.tables import JOB_STATES, Blob, Job, Run, Variant
from edgefleet_controller.jobs.repository import ENDED
from edgefleet_controller.observability.metrics import REGISTRY
from edgefleet_controller.services import Services

NO_TARGET = "none"
"""Target of runs that belong to no variant, such as comparisons."""

OPEN_STATES = ("queued", "leased")


class StoreCollector(Collector):
    """Depth of the queues, devices online, bytes stored, how far the engine is behind."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: registering must not ask the store."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The gauges of this moment, over all projects."""
        with acting_as(None), self._services.database.reading() as session:
            yield _queue_depth(session)
            yield _jobs(session)
            yield from self._ages(session)
        yield self._presence()
        held = GaugeMetricFamily("edgefleet_held_requests", "Requests that this process holds open.")
        held.add_metric((), self._services.wakeups.n_waiting)
        yield held

    def _ages(self, session: Session) -> Iterator[Metric]:
        now = self._services.clock.now()
        oldest = session.scalar(select(func.min(Job.created_at)).where(Job.state == "queued"))
        lag = GaugeMetricFamily("edgefleet_engine_lag_seconds", "Age of the oldest job that no worker has begun.")
        lag.add_metric((), max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0)
        yield lag
        size = GaugeMetricFamily("edgefleet_blob_bytes", "Size of all stored files.")
        size.add_metric((), session.scalar(select(func.coalesce(func.sum(Blob.size_bytes), 0))) or 0)
        yield size

    def _presence(self) -> Metric:
        services = self._services
        since = services.clock.now() - timedelta(seconds=services.settings.presence_timeout_s)
        online = GaugeMetricFamily("edgefleet_agents_online", "Agents that this process heard of lately.")
        online.add_metric((), services.presence.count_since(since))
        return online


def _queue_depth(session: Session) -> Metric:
    """A series for each open state, so that an empty queue is a zero and not an absence."""
    gauge = GaugeMetricFamily("edgefleet_runs", "Runs that have not ended.", labels=("state", "target"))
    query = select(Run.state, Variant.target, func.count()).outerjoin(Variant, Variant.id == Run.variant_id)
    counted = session.execute(query.where(Run.state.in_(OPEN_STATES)).group_by(Run.state, Variant.target)).all()
    for state, target, number in counted:
        gauge.add_metric((state, target or NO_TARGET), number)
    for state in set(OPEN_STATES) - {row[0] for row in counted}:
        gauge.add_metric((state, NO_TARGET), 0)
    return gauge


def _jobs(session: Session) -> Metric:
    gauge = GaugeMetricFamily("edgefleet_jobs", "Jobs that have not ended.", labels=("state",))
    query = select(Job.state, func.count()).where(Job.state.not_in(ENDED)).group_by(Job.state)
    counted = {state: number for state, number in session.execute(query)}  # noqa: C416  # a Row is no pair to mypy
    for state in JOB_STATES:
        if state not in ENDED:
            gauge.add_metric((state,), counted.get(state, 0))
    return gauge


class AllMetrics(Collector):
    """What this process counted, and then what is looked up."""

    def __init__(self, services: Services) -> None:
        self._looked_up = StoreCollector(services)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from REGISTRY.collect()
        yield from self._looked_up.collect()


def registry_of(services: Services) -> CollectorRegistry:
    """A registry over all of it."""
    registry = CollectorRegistry()
    registry.register(AllMetrics(services))
    return registry
