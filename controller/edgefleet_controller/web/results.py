"""All results: filter, sort, group, choose columns, compare two."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from edgefleet_controller.devices import repository as devices
from edgefleet_controller.errors import InvalidRequest, NotFound
from edgefleet_controller.pagination import PageRequest
from edgefleet_controller.results.contrast import contrast
from edgefleet_controller.results.listing import ListedResult, ResultsFilter, list_results, read_listed
from edgefleet_controller.services import ReadSession
from edgefleet_controller.web.rendering import render

router = APIRouter(include_in_schema=False, default_response_class=Response)
COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "size_bytes": "File",
        "accuracy": "Accuracy",
        "latency_p50_ms": "p50 ms",
        "latency_p90_ms": "p90 ms",
        "latency_p99_ms": "p99 ms",
        "energy_mj": "Energy mJ",
        "peak_memory_bytes": "Peak memory",
        "threads": "Threads",
        "batch": "Batch",
        "created_at": "Measured",
    }
)
"""Figures that a person may choose to see, with the heads of their columns."""
SHOWN_AT_FIRST = (
    "size_bytes",
    "accuracy",
    "latency_p50_ms",
    "latency_p90_ms",
    "energy_mj",
    "peak_memory_bytes",
    "created_at",
)
N_DEVICES = 200
GroupKey = Literal["none", "device", "variant", "job"]


class ResultsQuery(ResultsFilter):
    """What the page is asked for."""

    group: GroupKey = Field(default="none", description="what the rows are put together by")
    columns: list[str] = Field(default=list(SHOWN_AT_FIRST), max_length=20, description="figures to show")

    def address(self, **changes: Any) -> str:
        """The page with other wishes; what is as it is at first is left out."""
        wishes = self.model_dump(exclude_defaults=True) | changes
        return "/results?" + urlencode({name: one for name, one in wishes.items() if one is not None}, doseq=True)


def grouped(rows: Sequence[ListedResult], key: GroupKey) -> list[tuple[str, list[ListedResult]]]:
    """The rows of the page under the names of their groups, each group in the order of the list."""
    if key == "none":
        return [("", list(rows))]
    fields = {"device": "device_name", "variant": "variant", "job": "job_name"}

    def name(row: ListedResult) -> str:
        return str(getattr(row, fields[key]) or "none")

    return [(group, list(members)) for group, members in groupby(sorted(rows, key=name), key=name)]


@router.get("/results")
def show_results(request: Request, wanted: Annotated[ResultsQuery, Query()], session: ReadSession) -> Response:
    """The list."""
    unknown = sorted(set(wanted.columns) - set(COLUMNS))
    if unknown:
        raise InvalidRequest(f"There is no column {unknown[0]!r}; the columns are {', '.join(COLUMNS)}.")
    found = list_results(session, wanted)
    boards, _ = devices.page_of_devices(session, PageRequest(limit=N_DEVICES))
    return render(
        request,
        "results.html",
        found=found,
        groups=grouped(found.rows, wanted.group),
        wanted=wanted,
        boards=sorted(board.name for board in boards),
        columns=COLUMNS,
        is_filtered=wanted.address() != "/results?",
    )


@router.get("/results/compare")
def compare_results(
    request: Request,
    session: ReadSession,
    a: Annotated[str | None, Query(max_length=200)] = None,
    b: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Two results side by side."""
    if not a or not b:
        raise InvalidRequest("Choose two results to compare: one as A, one as B.")
    found = {row.run_id: row for row in read_listed(session, [a, b])}
    missing = [run_id for run_id in (a, b) if run_id not in found]
    if missing:
        raise NotFound(f"There is no result of a run {missing[0]!r}.")
    first, second = found[a], found[b]
    return render(request, "compare.html", a=first, b=second, rows=contrast(first, second))
