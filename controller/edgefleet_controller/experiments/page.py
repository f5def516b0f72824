"""A study as one HTML page: the report's tables with plots; autoescaped, nothing fetched."""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from edgefleet_compression.studies.report import render_markdown
from edgefleet_controller.experiments.plots import Mark, draw_marks

Document = Mapping[str, Any]
CURVE_POINTS = 60


def render_page(document: Document) -> str:
    """Return the page; the same document gives the same page."""
    drawn = [(title, svg) for title, svg in _plots(document) if svg]
    return _template().render(
        document=document,
        plots=[(title, Markup(svg)) for title, svg in drawn],  # noqa: S704  # written by ElementTree, which escapes
        blocks=list(_blocks(render_markdown(document))),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("edgefleet_controller.experiments"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("study.html")


def _plots(document: Document) -> Iterator[tuple[str, str]]:
    arms = [arm for arm in document["arms"] if arm["n"]]
    for model in dict.fromkeys(arm["model"] for arm in arms):
        marks = [
            Mark(
                arm["name"], arm["size_ratio"], 100 * arm["retention"]["value"], _percent(arm["retention"]), arm["role"]
            )
            for arm in arms
            if arm["model"] == model
        ]
        title = f"{model}: accuracy kept, %, over how many times fewer bytes"
        yield title, draw_marks(marks, x_label="times fewer bytes", y_label="accuracy kept, %", log_x=True)
    for board in dict.fromkeys(board for arm in arms for board in arm["p50_ms"]):
        timed = [arm for arm in arms if arm["p50_ms"].get(board, {}).get("value") is not None]
        marks = [
            Mark(
                arm["name"],
                arm["p50_ms"][board]["value"],
                100 * arm["retention"]["value"],
                _percent(arm["retention"]),
                arm["role"],
            )
            for arm in timed
        ]
        where = board if not board.startswith("simulated-") else f"SIMULATED {board.removeprefix('simulated-')}"
        yield (
            f"{where}: accuracy kept, %, over median latency, ms",
            draw_marks(marks, x_label=f"p50 on {where}, ms", y_label="accuracy kept, %"),
        )
    for claim in document["claims"]:
        if claim["kind"] == "fit" and claim["details"]:
            yield f"Fit: {claim['name']}", _fit(claim)


def _percent(found: Document) -> tuple[float, float] | None:
    return None if found["low"] is None else (100 * found["low"], 100 * found["high"])


def _fit(claim: Document) -> str:
    details = claim["details"]
    marks = [
        Mark(name, x, y, kind=kind)
        for key, kind in (("fitted", "main"), ("held_out", "held-out"))
        for name, x, y in details[key]
    ]
    low, high = min(mark.x for mark in marks), max(mark.x for mark in marks)
    places = [low + (high - low) * index / (CURVE_POINTS - 1) for index in range(CURVE_POINTS)]
    a, b = details["factor"], details["exponent"]
    curve = [(x, a * (x**b if details["law"] == "power" else math.exp(b * x))) for x in places]
    return draw_marks(marks, x_label=claim["x"], y_label=claim["y"], curve=curve)


def _blocks(markdown: str) -> Iterator[tuple[str, Any]]:
    """Yield the report's headings, tables, lists and paragraphs; it uses no other Markdown."""
    rows: list[list[str]] = []
    items: list[str] = []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
            continue
        if line.startswith("- "):
            items.append(line[2:].replace("`", ""))
            continue
        if rows:
            yield "table", (rows[0], rows[2:])
        if items:
            yield "list", items
        rows, items = [], []
        if line.startswith("#"):
            yield "heading", (len(line) - len(line.lstrip("#")), line.lstrip("# "))
        elif line:
            yield "paragraph", line.replace("**", "").replace("`", "")
