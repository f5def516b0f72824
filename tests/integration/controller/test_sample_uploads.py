"""An agent's raw samples on their way to the controller, over connections that break and controllers that end."""

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.integration.controller.conftest import Device, Fleet, StartFleet, sha256_of

from edgefleet_agent.client import ControllerClient
from edgefleet_agent.errors import StaleAttempt, Unreachable
from edgefleet_agent.loop import uploading
from edgefleet_agent.measure.artifact import failed_report
from edgefleet_agent.wire.messages import ReportRequest
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import BlobRef, CodedError
from edgefleet_controller.blobs import receiving

PART_BYTES = 100_000
DATA = random.Random(1).randbytes(3 * PART_BYTES + 50_000)
SHA = sha256_of(DATA)
Connect = Callable[[Device, str, "Line"], ControllerClient]


class CutStream(httpx.SyncByteStream):
    """The first bytes of a body; then the connection is gone."""

    def __init__(self, content: bytes, n_bytes: int) -> None:
        self._content, self._n_bytes = content, n_bytes

    def __iter__(self) -> Iterator[bytes]:
        yield self._content[: self._n_bytes]
        raise httpx.WriteError("connection reset by peer")


@dataclass
class Line(httpx.BaseTransport):
    """A connection that notes what went over it. ``cuts``: bytes after which the n-th part (from 1) breaks off."""

    cuts: dict[int, int] = field(default_factory=dict)
    lost_answers: set[int] = field(default_factory=set)
    inner: httpx.HTTPTransport = field(default_factory=httpx.HTTPTransport)
    parts: list[tuple[int, int]] = field(default_factory=list)
    """offset and length of each part that was taken whole"""
    others: list[str] = field(default_factory=list)
    n_parts: int = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "PATCH":
            self.others.append(f"{request.method} {request.url.path.rsplit('/', 1)[1]}")
            return self.inner.handle_request(request)
        self.n_parts += 1
        content = request.read()
        if self.n_parts in self.cuts:
            stream = CutStream(content, self.cuts[self.n_parts])
            request = httpx.Request(request.method, request.url, headers=request.headers, stream=stream)
        response = self.inner.handle_request(request)
        response.read()
        if response.is_success:
            self.parts.append((int(request.headers["Upload-Offset"]), len(content)))
        if self.n_parts in self.lost_answers:
            raise httpx.ReadError("connection reset by peer")
        return response

    def close(self) -> None:
        self.inner.close()


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PART_BYTES", PART_BYTES)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / SHA
    path.write_bytes(DATA)
    return path


def leased(fleet: Fleet) -> tuple[Device, ReportRequest]:
    device, job = fleet.add_device(), fleet.add_job()
    fleet.enqueue(job, device)
    order = device.order()
    return device, finished(order["run_id"], order["attempt"])


def finished(run_id: str, attempt: int) -> ReportRequest:
    report = failed_report(BlobRef(sha256=SHA, size_bytes=1), CodedError(code=ErrorCode.INTERNAL, message="bug"))
    return ReportRequest(run_id=run_id, attempt=attempt, report=report)


@pytest.fixture
def client_of() -> Iterator[Connect]:
    with ExitStack() as opened:

        def connect(device: Device, url: str, line: Line) -> ControllerClient:
            http = opened.enter_context(httpx.Client(base_url=url, transport=line))
            return ControllerClient(http, device.headers["Authorization"].removeprefix("Bearer "))

        yield connect


def send(client: ControllerClient, request: ReportRequest, path: Path) -> int:
    """Until all has arrived, as the agent does; how often it had to begin again."""
    n_failures = 0
    while True:
        try:
            uploading.upload_samples(client, request, SHA, path)
        except Unreachable:
            n_failures += 1
        else:
            return n_failures


def stored(fleet: Fleet) -> bytes:
    return fleet.operator.get(f"/v1/blobs/{SHA}").content


def test_a_long_file_goes_in_parts_and_a_short_one_whole(
    client_of: Connect, fleet: Fleet, samples: Path, tmp_path: Path
) -> None:
    device, request = leased(fleet)
    line = Line()
    client = client_of(device, fleet.url, line)
    assert send(client, request, samples) == 0
    assert line.parts == [(0, 100_000), (100_000, 100_000), (200_000, 100_000), (300_000, 50_000)]
    assert line.others == ["GET upload", "POST heartbeat", "POST heartbeat", "POST heartbeat"]
    assert stored(fleet) == DATA
    short = tmp_path / "short"
    short.write_bytes(b"x" * PART_BYTES)
    uploading.upload_samples(client, request, sha256_of(b"x" * PART_BYTES), short)
    assert line.others[-1] == "PUT " + sha256_of(b"x" * PART_BYTES)


@pytest.mark.parametrize("n_bytes", [0, 1, 70_000])
def test_after_a_connection_that_broke_in_the_middle_only_the_rest_is_sent(
    client_of: Connect, fleet: Fleet, samples: Path, n_bytes: int
) -> None:
    device, request = leased(fleet)
    line = Line(cuts={2: n_bytes})
    assert send(client_of(device, fleet.url, line), request, samples) >= 1
    assert stored(fleet) == DATA
    ends = [offset + length for offset, length in line.parts]
    begins = [offset for offset, _ in line.parts]
    assert begins[2:] == ends[1:-1], "every part goes on where the one before ended"
    assert 0 <= begins[1] - ends[0] <= n_bytes, "of the part that broke off what arrived is kept"
    assert ends[-1] == len(DATA)


def test_the_rest_is_sent_to_a_controller_that_was_started_again(
    client_of: Connect, start_fleet: StartFleet, samples: Path
) -> None:
    fleet = start_fleet()
    device, request = leased(fleet)
    first = Line(cuts={2: 30_000})
    with pytest.raises(Unreachable):
        uploading.upload_samples(client_of(device, fleet.url, first), request, SHA, samples)
    again = start_fleet(database_url=fleet.services.settings.resolved_database_url)
    second = Line()
    send(client_of(device, again.url, second), request, samples)
    assert stored(again) == DATA
    assert second.parts[0][0] >= PART_BYTES
    assert sum(length for _, length in first.parts + second.parts) <= len(DATA)


def test_a_last_part_whose_answer_was_lost_is_not_sent_again(client_of: Connect, fleet: Fleet, samples: Path) -> None:
    device, request = leased(fleet)
    line = Line(lost_answers={4})
    assert send(client_of(device, fleet.url, line), request, samples) == 1
    assert len(line.parts) == 4
    assert stored(fleet) == DATA


def test_parts_that_make_another_file_are_sent_anew(client_of: Connect, fleet: Fleet, samples: Path) -> None:
    device, request = leased(fleet)
    headers = {**device.headers, "Upload-Offset": "0", "Upload-Complete": "false"}
    fleet.anonymous.patch(f"/agent/v1/blobs/{SHA}", content=b"something else", headers=headers)
    line = Line()
    assert send(client_of(device, fleet.url, line), request, samples) == 1
    assert stored(fleet) == DATA


def test_the_run_is_held_as_long_as_its_samples_are_on_their_way(
    client_of: Connect, fleet: Fleet, samples: Path
) -> None:
    """Each part takes most of a lease; without heartbeats the run would be somebody else's before the end."""
    device, request = leased(fleet)

    @dataclass
    class SlowLine(Line):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "PATCH":
                fleet.clock.advance(50.0)
            return super().handle_request(request)

    assert send(client_of(device, fleet.url, SlowLine()), request, samples) == 0
    fleet.sweeper.end_leases()
    assert fleet.get(f"/v1/runs/{request.run_id}")["state"] == "leased"


def test_samples_of_a_run_that_is_over_are_refused(client_of: Connect, fleet: Fleet, samples: Path) -> None:
    device, request = leased(fleet)
    stale = request.model_copy(update={"attempt": 7})
    with pytest.raises(StaleAttempt):
        uploading.upload_samples(client_of(device, fleet.url, Line()), stale, SHA, samples)


def test_an_older_controller_gets_the_file_whole(samples: Path) -> None:
    taken: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        taken.append((request.method, len(request.content)))
        return httpx.Response(405 if request.method == "GET" else 201, json={})

    with httpx.Client(base_url="http://c", transport=httpx.MockTransport(answer)) as http:
        uploading.upload_samples(ControllerClient(http, "edt_x"), finished("run_1", 1), SHA, samples)
    assert taken == [("GET", 0), ("PUT", len(DATA))]


def test_what_a_stranger_sent_is_not_told(client_of: Connect, fleet: Fleet, samples: Path) -> None:
    """Or else a board could learn which files other projects have."""
    device, request = leased(fleet)
    send(client_of(device, fleet.url, Line()), request, samples)
    assert fleet.get(f"/v1/blobs/{SHA}/upload")["is_stored"] is True
    fleet.post("/v1/projects", {"name": "theirs"})
    with fleet.client(fleet.add_user("operator", "theirs")) as stranger:
        assert stranger.get(f"/v1/blobs/{SHA}/upload").json()["is_stored"] is False


def test_an_upload_that_falls_silent_is_given_up(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection may end without either side being told; the lock of its upload has to go all the same."""
    device, _ = leased(fleet)
    monkeypatch.setattr(receiving, "SILENCE_S", 0.1)
    address = urlsplit(fleet.url)
    head = f"PATCH /agent/v1/blobs/{SHA} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\nUpload-Offset: 0\r\n"
    head += f"Authorization: {device.headers['Authorization']}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + DATA[:1000])
        assert connection.recv(12) == b"HTTP/1.1 409"
    with fleet.services.blobs.resumed_writer(SHA, device.device_id) as writer:
        assert writer.received_bytes <= 1000
