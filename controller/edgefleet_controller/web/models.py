"""Models and data: what there is, uploading, and what an analysis found in a model."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from edgefleet_compression.data.registry import PACKAGED
from edgefleet_controller.analyses import repository as analyses
from edgefleet_controller.analyses import service as analysis_service
from edgefleet_controller.analyses.analyst import QUEUED
from edgefleet_controller.analyses.schemas import AnalysisCreate
from edgefleet_controller.models import repository
from edgefleet_controller.models import service as models
from edgefleet_controller.pagination import PageQuery
from edgefleet_controller.services import ReadSession, ServicesOf
from edgefleet_controller.web.charts import Axis, Chart, Point, Series, Table
from edgefleet_controller.web.rendering import redirect, render

router = APIRouter(include_in_schema=False, default_response_class=Response)
MAX_LAYERS = 40


def macs_chart(layers: list[Mapping[str, Any]]) -> Chart:
    """Multiply-accumulates of each layer, the largest first."""
    known = sorted((one for one in layers if one.get("macs")), key=lambda one: -one["macs"])
    points = [Point(str(one["name"]), one["macs"] / 1e6, note=str(one["kind"])) for one in known[:MAX_LAYERS]]
    rows = [(one["name"], one["kind"], one["macs"] / 1e6) for one in known]
    return Chart(
        Axis("", "category", [str(point.x) for point in points]),
        Axis("million MACs per sample", from_zero=True),
        [Series("", "bar", points)],
        Table(["layer", "kind", "million MACs"], rows),
        is_flat=True,
        nothing="No layer has multiplications",
    )


def sensitivity_chart(layers: list[Mapping[str, Any]]) -> Chart:
    """Accuracy when one layer alone loses a share of its weights, or has fewer bits; layers in the network's order."""
    shown = layers[:MAX_LAYERS]
    ways = dict.fromkeys((kind, way) for one in shown for kind in ("pruned", "rounded") for way in one.get(kind) or {})
    series = []
    for kind, way in ways:
        name = f"\N{MINUS SIGN}{100 * float(way):.0f} % of the weights" if kind == "pruned" else f"{way} bits"
        points = [
            Point(str(one["name"]), one[kind][way]["accuracy"])
            for one in shown
            if (one.get(kind) or {}).get(way, {}).get("accuracy") is not None
        ]
        series.append(Series(name, "line", points))
    rows = [
        (one["name"], *((one.get(kind) or {}).get(way, {}).get("accuracy") for kind, way in ways)) for one in layers
    ]
    return Chart(
        Axis("layer", "category", [str(one["name"]) for one in shown]),
        Axis("accuracy", "share"),
        [one for one in series if one.points],
        Table(["layer", *(one.name for one in series)], rows),
        nothing="Without labelled data there is no accuracy to lose",
    )


@router.get("/models")
def list_models(request: Request, page: PageQuery, session: ReadSession) -> Response:
    """Models, newest first, and the data sets that they may name."""
    rows, cursor = repository.page_of_models(session, page)
    is_first = page.cursor is None
    return render(request, "models.html", models=rows, next_cursor=cursor, is_first=is_first, packaged=list(PACKAGED))


@router.get("/models/{model_id}")
def show_model(request: Request, model_id: str, session: ReadSession) -> Response:
    """One model with the analysis that was asked for last."""
    model = models.find(session, model_id)
    analysis = analyses.newest_of_model(session, model.blob_sha256)
    layers = (analysis.result or {}).get("layers", []) if analysis is not None else []
    charts = {"macs": macs_chart(layers), "sensitivity": sensitivity_chart(layers)} if layers else {}
    return render(request, "model.html", model=model, analysis=analysis, charts=charts)


@router.post("/models/{model_id}/analysis")
def analyse_model(model_id: str, services: ServicesOf) -> Response:
    """Ask for an analysis of the model; the same one is made once."""
    with services.database.writing() as session:
        model = models.find(session, model_id)
        analysis_service.request(session, model.id, AnalysisCreate())
    services.wakeups.notify(QUEUED)
    return redirect(f"/models/{model.id}")
