"""Comparisons that boards made in turns: the list, and one with each of its boards."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from edgefleet_controller.comparisons import service
from edgefleet_controller.comparisons.schemas import ComparisonRow
from edgefleet_controller.pagination import PageQuery
from edgefleet_controller.results.explanations import Explanation, explain
from edgefleet_controller.services import ReadSession, WriteSession
from edgefleet_controller.web.rendering import redirect, render

router = APIRouter(include_in_schema=False, default_response_class=Response)


@router.get("/comparisons")
def list_comparisons(request: Request, page: PageQuery, session: ReadSession) -> Response:
    """Comparisons, newest first, with what they found in a line."""
    found = service.page_of_views(session, page)
    return render(request, "comparisons.html", page=found, is_first=page.cursor is None)


@router.get("/comparisons/{comparison_id}")
def show_comparison(request: Request, comparison_id: str, session: ReadSession) -> Response:
    """One comparison: ratio, interval and verdict of each board, with the conditions."""
    found = service.view(session, service.find(session, comparison_id))
    codes = dict.fromkeys(code for row in found.results for code in row.verdict.reasons)
    reasons: list[Explanation] = [explain(code) for code in codes]
    conditions = {row.device_name: _conditions(row) for row in found.results if row.conditions}
    is_open = found.state in ("queued", "running")
    return render(request, "comparison.html", found=found, reasons=reasons, conditions=conditions, is_open=is_open)


@router.post("/comparisons/{comparison_id}/cancel")
def cancel_comparison(comparison_id: str, session: WriteSession) -> Response:
    """Drop its queued runs and ask the boards that hold others to stop."""
    comparison = service.cancel(session, comparison_id)
    return redirect(f"/comparisons/{comparison.id}")


def _conditions(row: ComparisonRow) -> Mapping[str, Any]:
    """What belongs to the figures, by its name; empty parts are left out."""
    stated = row.conditions or {}
    return {name: stated[name] for name in ("host", "runtime", "settings", "before", "after") if stated.get(name)}
