"""Runs in-process fault schedules, one for each seed, and keeps what they found over many runs."""

import random
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis.stateful import get_state_machine_test
from tests.benchmarks.fleet_load.documents import JsonObject
from tests.benchmarks.fleet_load.fault_machine import FaultMachine, machine_over, schedule_settings
from tests.benchmarks.fleet_load.reference_model import Kind, Violation

PROBLEM_CHARACTERS = 1000
CHOICE_BYTES = 8192
"""More than the choices of a schedule take, which are some hundred numbers of a few bytes."""


@dataclass
class Found:
    """The seeds whose schedules were run; of those that broke a rule, which one and how it began to show."""

    seeds: set[int] = field(default_factory=set)
    kinds: dict[int, str] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)

    def add(self, number: int, error: Exception | None) -> None:
        """A schedule ended."""
        self.seeds.add(number)
        if error is not None:
            self.kinds[number] = (error.kind if isinstance(error, Violation) else Kind.OTHER).value
            said = str(error) if isinstance(error, Violation) else "".join(traceback.format_exception(error))
            self.problems[number] = said[-PROBLEM_CHARACTERS:]

    def as_json(self) -> JsonObject:
        """Counts, and which seeds they are of."""
        return {
            "n_schedules": len(self.seeds),
            "seeds": ranges_of(self.seeds),
            "violations": dict(Counter(self.kinds.values())),
            "kinds": {str(number): kind for number, kind in sorted(self.kinds.items())},
            "problems": {str(number): problem for number, problem in sorted(self.problems.items())},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Found":
        """What ``as_json`` wrote."""
        kinds = {int(number): str(kind) for number, kind in document["kinds"].items()}
        problems = {int(number): str(problem) for number, problem in document["problems"].items()}
        return cls(set(seeds_of(str(document["seeds"]))), kinds, problems)


def run_fault_schedules(database_url: str | None, seeds: Sequence[int]) -> JsonObject:
    """One schedule for each seed (None: on SQLite)."""
    found = Found()
    with machine_over(database_url) as machine:
        for number in seeds:
            found.add(number, run_seed(machine, number))
    return found.as_json()


def together(earlier: Mapping[str, Any] | None, later: Mapping[str, Any]) -> JsonObject:
    """What two runs found; of a seed that both have, what the later one did. ``slices``: the conditions of each."""
    ours, theirs = Found.from_json(later), Found.from_json(earlier or Found().as_json())
    again = ours.seeds
    theirs.kinds = {number: kind for number, kind in theirs.kinds.items() if number not in again} | ours.kinds
    theirs.problems = {number: said for number, said in theirs.problems.items() if number not in again} | ours.problems
    theirs.seeds |= again
    this = {"seeds": later["seeds"], "violations": later["violations"], **later.get("conditions", {})}
    return theirs.as_json() | {"slices": [*(earlier or {}).get("slices", []), this]}


def run_seed(machine: type[FaultMachine], number: int) -> Exception | None:
    """The schedule that Hypothesis makes of this seed's random bytes, the same every time; returns what went wrong."""
    ended: list[FaultMachine] = []
    here = type("SeededMachine", (machine,), {"on_end": lambda self: ended.append(self)})
    schedule = get_state_machine_test(here, settings=schedule_settings(1, shrinks=False))
    try:
        schedule.hypothesis.fuzz_one_input(random.Random(number).randbytes(CHOICE_BYTES))  # type: ignore[attr-defined]
        if not ended:  # one that found no next step has ended too
            raise NotCarriedOut(f"seed {number} made no schedule")
    except Exception as error:  # noqa: BLE001  # a product that raises has failed too, and the other seeds go on
        return error
    return None


class NotCarriedOut(Exception):
    """A seed without a schedule that was judged."""


def seeds_of(ranges: str) -> list[int]:
    """``1-3,7``: 1, 2, 3 and 7; ValueError for other words."""
    found: list[int] = []
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def ranges_of(seeds: Iterable[int]) -> str:
    """The other way round."""
    pieces: list[list[int]] = []
    for number in sorted(set(seeds)):
        if pieces and number == pieces[-1][1] + 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in pieces)
