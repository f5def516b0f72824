"""Collects what the page of a job shows."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from edgefleet_controller.results.rows import EMULATED
from edgefleet_controller.results.schemas import Front, FrontRequest, VariantRow
from edgefleet_controller.results.service import front_of_rows, variant_rows
from edgefleet_controller.web.front_figure import FrontFigure, draw_front


@dataclass(frozen=True)
class DeviceSection:
    """What one device measured."""

    device_name: str
    provenance: str
    front: Front
    figure: FrontFigure | None


@dataclass(frozen=True)
class JobPage:
    """The table and one figure for each device."""

    rows: list[VariantRow]
    sections: list[DeviceSection]


def job_page(session: Session, job_id: str) -> JobPage:
    """The page's content. A device that is not physical has a figure of its own, labelled with its provenance.

    An emulated one has none: its rows in the table say that the files ran, and there is nothing to draw.
    """
    rows = variant_rows(session, job_id)
    drawn = [row for row in rows if row.device_id is not None and row.provenance not in (None, EMULATED)]
    devices = {row.device_id: row for row in drawn}
    sections = [_section(job_id, rows, row) for row in devices.values()]
    return JobPage(rows, sections)


def _section(job_id: str, rows: list[VariantRow], example: VariantRow) -> DeviceSection:
    assert example.provenance is not None
    request = FrontRequest(job=job_id, device=example.device_id, provenance=[example.provenance])
    front = front_of_rows(rows, request)
    name = example.device_name or str(example.device_id)
    return DeviceSection(name, example.provenance, front, draw_front(front, f"Accuracy against latency on {name}"))
