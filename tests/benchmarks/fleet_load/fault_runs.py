"""Runs many in-process fault schedules and counts what they found."""

from dataclasses import asdict, dataclass, field

from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test
from tests.benchmarks.fleet_load.documents import JsonObject
from tests.benchmarks.fleet_load.fault_machine import machine_over, schedule_settings
from tests.benchmarks.fleet_load.reference_model import Violation

N_EACH = 50
"""Schedules of one seed; a violation ends its seed's schedules, and the next seed begins."""


@dataclass
class Found:
    """Finished schedules, violations by kind, and how each began to show."""

    n_schedules: int = 0
    violations: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def run_fault_schedules(database_url: str | None, n_schedules: int, first_seed: int) -> JsonObject:
    """At least so many schedules (None: on SQLite), with the seeds from ``first_seed`` on."""
    found = Found()

    def on_end() -> None:
        found.n_schedules += 1

    with machine_over(database_url, on_end) as machine:
        number = first_seed
        while found.n_schedules < n_schedules and number < first_seed + 2 * -(-n_schedules // N_EACH):
            seeded = seed(number)(type(f"Seed{number}", (machine,), {}))
            wanted = min(N_EACH, n_schedules - found.n_schedules)
            try:
                run_state_machine_as_test(seeded, settings=schedule_settings(wanted, shrinks=False))
            except Violation as violation:
                kind = violation.kind.value
                found.violations[kind] = found.violations.get(kind, 0) + 1
                found.problems.append(f"seed {number}: {violation}"[:1000])
            number += 1
    return asdict(found)
