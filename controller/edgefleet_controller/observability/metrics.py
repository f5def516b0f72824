"""The metrics of this process. Device identifiers are no labels: a fleet has thousands, and each would be a time series."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY: Final = CollectorRegistry()
"""Holds what is counted while it happens; what is looked up at a scrape is in ``observability.scraping``."""

REQUESTS = Counter(
    "edgefleet_http_requests",
    "Requests by route template and status.",
    ("method", "route", "status"),
    registry=REGISTRY,
)
LEASE_EXPIRIES = Counter(
    "edgefleet_lease_expiries", "Leases that ran out, by what became of the run.", ("outcome",), registry=REGISTRY
)
CLAIM_LATENCY = Histogram(
    "edgefleet_claim_latency_seconds",
    "Time from the queueing of a run to its first lease.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 43200),
    registry=REGISTRY,
)
RUN_DURATION = Histogram(
    "edgefleet_run_duration_seconds",
    "Time from the first lease of a run to its end, by how it ended.",
    ("state",),
    buckets=(1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800),
    registry=REGISTRY,
)
