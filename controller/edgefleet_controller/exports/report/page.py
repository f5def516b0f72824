"""Writes the report: autoescaped, one file, nothing fetched from anywhere."""

from collections.abc import Callable
from datetime import datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from edgefleet_controller.client import ResultRow
from edgefleet_controller.client.rows import Interval
from edgefleet_controller.exports.report.contents import Contents, label
from edgefleet_controller.exports.report.drawing import Bar, draw_bars, draw_front

ABSENT = "\N{EN DASH}"


def render_report(contents: Contents) -> str:
    """The report as an HTML document."""
    rows = [row for row in contents.results if row.is_trusted]
    plots = {
        "Median latency (ms), with its interval": draw_bars(
            _bars(rows, lambda row: row.latency_p50_ms, lambda row: row.latency_p50_interval_ms, "ms"), "median latency"
        ),
        "Gross energy per inference (mJ), with its 95 % interval": draw_bars(
            _bars(rows, lambda row: row.energy_mj, _energy_interval, "mJ"), "energy per inference"
        ),
        "Size of the file (kB)": draw_bars(
            _bars(rows, lambda row: None if row.size_bytes is None else row.size_bytes / 1000, lambda _: None, "kB"),
            "size of the file",
        ),
    }
    fronts = {device: (front, Markup(draw_front(front, contents.results))) for device, front in contents.fronts.items()}  # noqa: S704  # written by ElementTree, which escapes
    return _template().render(
        contents=contents,
        fronts=fronts,
        plots={title: Markup(svg) for title, svg in plots.items() if svg},  # noqa: S704  # as above
        label=label,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("edgefleet_controller.exports.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number, share=_share, times=_times, size=_size, interval=_interval, instant=_instant
    )
    return environment.get_template("report.html")


def _bars(
    rows: list[ResultRow],
    read: Callable[[ResultRow], float | None],
    interval: Callable[[ResultRow], Interval | None],
    unit: str,
) -> list[Bar]:
    known = [(row, value) for row in rows if (value := read(row)) is not None]
    return [
        Bar(_marked(row), value, interval(row), f"{value:.4g} {unit}", row.verdict != "valid") for row, value in known
    ]


def _marked(row: ResultRow) -> str:
    """The row's name, saying so where its figures were not measured."""
    return label(row) if row.provenance == "measured" else f"{row.provenance}: {label(row)}"


def _energy_interval(row: ResultRow) -> Interval | None:
    if row.energy_mj is None or row.energy_uncertainty_mj is None:
        return None
    return row.energy_mj - row.energy_uncertainty_mj, row.energy_mj + row.energy_uncertainty_mj


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.2f} %"


def _times(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}\N{MULTIPLICATION SIGN}"


def _size(value: int | None) -> str:
    return ABSENT if value is None else f"{value:,} B"


def _interval(pair: Interval | None, factor: float = 1.0) -> str:
    return "" if pair is None else f"[{factor * pair[0]:.4g}, {factor * pair[1]:.4g}]"


def _instant(value: datetime | str | None) -> str:
    if value is None:
        return ABSENT
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")
