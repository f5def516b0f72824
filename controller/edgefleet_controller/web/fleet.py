"""The fleet: boards with what they do now, and what may be done with them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from edgefleet_controller.devices import enrolment, repository, service, upkeep
from edgefleet_controller.devices.conditions import BoardConditions, CurrentRun, current_runs, last_conditions
from edgefleet_controller.devices.schemas import DeviceCreate, DeviceView, HoldRequest, JoinTokenCreate
from edgefleet_controller.pagination import PageRequest
from edgefleet_controller.runs import service as runs
from edgefleet_controller.services import ReadSession, Services, ServicesOf, WriteSession
from edgefleet_controller.web.checking import checked
from edgefleet_controller.web.forms import Form, FormOf
from edgefleet_controller.web.live import FLEET, Part, View, stream
from edgefleet_controller.web.navigation import Visitor, visitor_of
from edgefleet_controller.web.rendering import came_from, redirect, render, render_part

router = APIRouter(include_in_schema=False, default_response_class=Response)
PAGE_SIZE = 100
BOARDS = ("raspberry-pi-4", "raspberry-pi-5", "jetson-nano", "coral-dev-board", "coral-usb", "linux-host")
"""What is offered; any other kind may be typed."""

Cursor = Annotated[str | None, Query(max_length=200)]
Action = Literal["accept", "hold", "drain", "release", "revoke"]


@dataclass(frozen=True)
class BoardEntry:
    """A row of the fleet."""

    device: DeviceView
    run: CurrentRun | None
    conditions: BoardConditions | None

    @property
    def part(self) -> str:
        """Name of the row within the page."""
        return f"board-{self.device.id}"

    @property
    def mark(self) -> str:
        """What makes the row worth writing anew; how long ago it was heard of, the browser counts itself."""
        device, known = self.device, self.conditions
        minute = device.last_seen_at.replace(second=0, microsecond=0) if device.last_seen_at is not None else None
        run_id = known.run_id if known is not None else None
        return repr((device.version, device.state, device.presence, minute, device.failures, self.run, run_id))


@dataclass(frozen=True)
class FleetPage:
    """Boards of one page of the list."""

    entries: list[BoardEntry]
    next_cursor: str | None

    @property
    def summary(self) -> str:
        """The fleet in a sentence, as a screen reader hears it when it changes."""
        online = sum(entry.device.online for entry in self.entries)
        waiting = sum(entry.device.state == "pending" for entry in self.entries)
        running = sum(entry.run is not None for entry in self.entries)
        said = f"{online} of {len(self.entries)} boards online, {running} running"
        return f"{said}, {waiting} waiting to be accepted" if waiting else said


def fleet_page(session: Session, services: Services, cursor: str | None) -> FleetPage:
    """A page of the fleet, newest boards first: three queries, however many boards."""
    rows, following = repository.page_of_devices(session, PageRequest(limit=PAGE_SIZE, cursor=cursor))
    ids = [row.id for row in rows]
    held, known = current_runs(session, ids), last_conditions(session, ids)
    timeout_s = services.settings.presence_timeout_s
    entries = [
        BoardEntry(service.view(session, row, services.presence, timeout_s), held.get(row.id), known.get(row.id))
        for row in rows
    ]
    return FleetPage(entries, following)


def _view(page: FleetPage, visitor: Visitor) -> View:
    rows = {
        entry.part: Part(str(render_part("fleet_parts.html", "row", entry, visitor, True)), entry.mark)
        for entry in page.entries
    }
    body = str(render_part("fleet_parts.html", "body", page.entries, visitor, True))
    whole = {"list": Part(body, mark=" ".join(rows) or "none")}
    summary = str(render_part("fleet_parts.html", "summary", page.summary, True))
    return View({**whole, **rows, "summary": Part(summary)}, {"announce": page.summary})


@router.get("/fleet")
def show_fleet(request: Request, session: ReadSession, services: ServicesOf, cursor: Cursor = None) -> Response:
    """The boards, kept up to date."""
    page = fleet_page(session, services, cursor)
    seen = _view(page, visitor_of(request)).digest
    return render(request, "fleet.html", page=page, cursor=cursor, seen=seen, boards=BOARDS)


@router.get("/fleet/live")
def follow_fleet(
    request: Request, services: ServicesOf, cursor: Cursor = None, seen: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """What changes on that page."""
    visitor = visitor_of(request)

    def look() -> View:
        with services.database.reading() as session:
            return _view(fleet_page(session, services, cursor), visitor)

    return stream(services, request, FLEET, seen, look)


@router.post("/fleet")
def add_board(request: Request, session: WriteSession, services: ServicesOf, form: FormOf) -> Response:
    """Register a board, and show the line that enrols it: its token is shown this once."""
    wanted = checked(DeviceCreate, name=form.text("name"), board=form.text("board"), kind=form.text("kind"))
    device = service.register(session, wanted)
    request_token = JoinTokenCreate(device=device.id, auto_accept=not form.is_set("needs_accept"))
    token = service.mint_join_token(session, request_token, services.tokens, services.settings.join_token_ttl_s)
    command = "simulate --board " + device.board if device.kind == "simulated" else "run"
    address = f"{request.url.scheme}://{request.headers.get('Host', 'your-controller')}"
    line = f"edgefleet-agent {command} --controller {address} --join-token {token.join_token}"
    return render(request, "board_added.html", device=device, line=line, expires_at=token.expires_at)


@router.post("/devices/{device_id}/{action}")
def change_board(
    device_id: str,
    action: Action,
    request: Request,
    session: WriteSession,
    form: FormOf,
    version: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """Accept, hold, drain, release or revoke a board. ``version`` is the one that the person saw."""
    if_match = f'"{version}"' if version is not None else None
    if action == "accept":
        enrolment.accept(session, device_id)
    elif action == "release":
        upkeep.release(session, device_id, if_match)
    elif action == "revoke":
        service.revoke(session, device_id, if_match)
        runs.withdraw_revoked(session)
    else:
        upkeep.hold(session, device_id, _hold_of(form), {"hold": "held", "drain": "draining"}[action], if_match)
    return redirect(came_from(request))


def _hold_of(form: Form) -> HoldRequest:
    return checked(HoldRequest, reason=form.optional("reason"), for_s=form.optional("for_s"))
