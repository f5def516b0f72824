"""Uploads in parts: what arrived is kept, also by a controller that was started again, and verified at the end."""

import socket
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx
import pytest
from tests.integration.controller.conftest import Device, Fleet, StartFleet, latency_blob, sha256_of

from edgefleet_controller.blobs.garbage import Rules, collect

DATA = bytes(range(256)) * 5000
SHA = sha256_of(DATA)
PATH = f"/v1/blobs/{SHA}"


def send(
    fleet: Fleet,
    offset: int,
    part: bytes,
    *,
    last: bool = False,
    path: str = PATH,
    more: Mapping[str, str] = MappingProxyType({}),
) -> httpx.Response:
    headers = {"Upload-Offset": str(offset), "Upload-Complete": str(last).lower(), **more}
    return fleet.operator.patch(path, content=part, headers=headers)


def received(fleet: Fleet) -> int:
    return int(fleet.get(f"{PATH}/upload")["received_bytes"])


def test_parts_make_the_file_over_a_restart(start_fleet: StartFleet) -> None:
    fleet = start_fleet()
    assert received(fleet) == 0
    first = send(fleet, 0, DATA[:1000])
    assert (first.status_code, first.json()) == (202, {"sha256": SHA, "received_bytes": 1000})
    again = start_fleet(database_url=fleet.services.settings.resolved_database_url)
    assert received(again) == 1000
    assert again.operator.get(PATH).status_code == 404
    last = send(again, 1000, DATA[1000:], last=True)
    assert (last.status_code, last.json()) == (201, {"sha256": SHA, "size_bytes": len(DATA)})
    assert again.operator.get(PATH).content == DATA
    assert received(again) == 0


def test_a_part_that_breaks_off_is_kept_as_far_as_it_came(fleet: Fleet) -> None:
    data = DATA * 2
    path = f"/v1/blobs/{sha256_of(data)}"
    address = urlsplit(fleet.url)
    head = f"PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\nUpload-Offset: 0\r\n"
    head += f"Authorization: Bearer {fleet.services.operator_token}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + data[:-1])
        while not fleet.get(f"{path}/upload")["received_bytes"]:
            continue  # until the server has taken some of it
    answer = send(fleet, 0, b"", path=path)
    while answer.json()["code"] == "upload_in_progress":
        answer = send(fleet, 0, b"", path=path)  # until it has seen the end
    arrived = answer.json()["received_bytes"]
    assert 0 < arrived < len(data)
    assert send(fleet, arrived, data[arrived:], path=path, last=True).status_code == 201
    assert fleet.operator.get(path).content == data


@pytest.mark.parametrize("offset", [0, 999, 1001])
def test_a_part_that_begins_elsewhere_is_refused_and_changes_nothing(fleet: Fleet, offset: int) -> None:
    send(fleet, 0, DATA[:1000])
    answer = send(fleet, offset, DATA[offset:], last=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_offset_mismatch")
    assert answer.json()["received_bytes"] == 1000
    assert send(fleet, 1000, DATA[1000:], last=True).status_code == 201


def test_parts_of_another_file_are_refused_at_the_end_and_nothing_is_kept(fleet: Fleet) -> None:
    send(fleet, 0, b"something else")
    answer = send(fleet, 14, DATA[14:], last=True)
    assert (answer.status_code, answer.json()["code"]) == (422, "blob_hash_mismatch")
    assert received(fleet) == 0
    assert send(fleet, 0, DATA, last=True).status_code == 201


def test_an_upload_that_is_being_received_is_not_received_twice(fleet: Fleet) -> None:
    with fleet.services.blobs.resumed_writer(SHA, "project prj_default") as writer:
        writer.write(DATA[:10])
        answer = send(fleet, 0, DATA, last=True)
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_in_progress")


def test_the_limit_holds_for_all_parts_together(start_fleet: StartFleet) -> None:
    fleet = start_fleet(max_blob_bytes=1024)
    assert send(fleet, 0, DATA[:1000]).status_code == 202
    assert send(fleet, 1000, DATA[1000:2000]).json()["code"] == "body_too_large"


@pytest.mark.parametrize("headers", [{}, {"Upload-Offset": "-1"}, {"Upload-Offset": "x"}])
def test_a_part_says_where_it_begins(fleet: Fleet, headers: dict[str, str]) -> None:
    assert fleet.operator.patch(PATH, content=b"", headers=headers).status_code == 422


def test_an_upload_that_nobody_goes_on_with_is_removed_after_a_day(fleet: Fleet) -> None:
    send(fleet, 0, DATA[:1000])
    fleet.clock.advance(20 * 365 * 86400.0)
    rules = Rules.from_settings(fleet.services.settings)
    assert collect(fleet.services.database, fleet.services.blobs, rules, dry_run=False).n_unfinished == 1
    assert received(fleet) == 0


def leased(fleet: Fleet) -> Device:
    device, job = fleet.add_device(), fleet.add_job()
    fleet.enqueue(job, device)
    device.order()
    return device


def test_a_board_uploads_in_parts_only_for_the_run_it_holds(fleet: Fleet) -> None:
    data, device = latency_blob(), leased(fleet)
    path = f"/agent/v1/blobs/{sha256_of(data)}"
    operator, fleet.operator = fleet.operator, fleet.anonymous
    assert send(fleet, 0, data[:10], path=path, more=device.headers).status_code == 202
    assert fleet.anonymous.get(f"{path}/upload", headers=device.headers).json()["received_bytes"] == 10
    assert send(fleet, 10, data[10:], path=path, last=True, more=device.headers).status_code == 201
    fleet.operator = operator
    idle = fleet.add_device("idle")
    fleet.operator = fleet.anonymous
    answer = send(fleet, 0, DATA, path=f"/agent/v1/blobs/{SHA}", more=idle.headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_leased")
    fleet.operator = operator


def test_the_unfinished_upload_of_another_project_is_not_gone_on_with(fleet: Fleet) -> None:
    """Or else whoever knows a file's hash and its end could have all of it."""
    fleet.post("/v1/projects", {"name": "theirs"})
    theirs = fleet.add_user("operator", "theirs")
    send(fleet, 0, DATA[:1000])
    with fleet.client(theirs) as stranger:
        assert stranger.get(f"{PATH}/upload").json()["received_bytes"] == 0
        headers = {"Upload-Offset": "1000", "Upload-Complete": "true"}
        assert stranger.patch(PATH, content=DATA[1000:], headers=headers).json()["code"] == "upload_offset_mismatch"


def test_nobody_can_spoil_what_another_is_sending(fleet: Fleet) -> None:
    device = leased(fleet)
    send(fleet, 0, DATA[:1000])
    headers = {**device.headers, "Upload-Offset": "0"}
    assert fleet.anonymous.patch(f"/agent/v1/blobs/{SHA}", content=b"junk", headers=headers).status_code == 202
    assert send(fleet, 1000, DATA[1000:], last=True).status_code == 201
    assert fleet.operator.get(PATH).content == DATA
