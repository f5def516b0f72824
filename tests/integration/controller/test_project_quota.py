"""What one project may send, whatever the others do."""

from collections.abc import Mapping

import httpx
import pytest
import typer
from tests.integration.controller.conftest import Fleet, StartFleet, latency_blob, sha256_of

from edgefleet_controller.cli.people import read_size


class TestQuotaOfAProject:
    def upload(
        self, fleet: Fleet, data: bytes, headers: Mapping[str, str], *, streamed: bool = False
    ) -> httpx.Response:
        content = iter([data[:10], data[10:]]) if streamed else data
        return fleet.anonymous.put(f"/v1/blobs/{sha256_of(data)}", content=content, headers=dict(headers))

    def test_it_stops_its_own_people_only(self, fleet: Fleet) -> None:
        fleet.post("/v1/projects", {"name": "theirs"})
        theirs = fleet.add_user("operator", "theirs")
        shared = fleet.upload(b"s" * 60)
        changed = fleet.operator.patch("/v1/projects/theirs", json={"quota_bytes": 100})
        assert (changed.status_code, changed.json()["quota_bytes"]) == (200, 100)
        assert self.upload(fleet, b"a" * 60, theirs).status_code == 201
        for streamed in (False, True):
            refused = self.upload(fleet, b"b" * 60, theirs, streamed=streamed)
            assert (refused.status_code, refused.json()["code"]) == (507, "project_quota_exceeded")
            assert (refused.json()["retry"], "theirs" in refused.json()["detail"]) == (False, True)
        assert self.upload(fleet, b"s" * 60, theirs).json()["code"] == "project_quota_exceeded", "not theirs so far"
        assert self.upload(fleet, b"a" * 60, theirs).status_code == 200, "what they sent before takes no more room"
        assert fleet.upload(b"b" * 60) != shared, "the others go on"
        sent = {project["name"]: project["sent_bytes"] for project in fleet.get("/v1/projects")["items"]}
        assert sent == {"theirs": 60, "default": 120}

    def test_parts_are_stopped_where_it_ends(self, fleet: Fleet) -> None:
        fleet.operator.patch("/v1/projects/default", json={"quota_bytes": 100})
        data = b"p" * 120
        first, second = (
            fleet.operator.patch(
                f"/v1/blobs/{sha256_of(data)}", content=data[start : start + 60], headers={"Upload-Offset": str(start)}
            )
            for start in (0, 60)
        )
        assert (first.status_code, second.json()["code"]) == (202, "project_quota_exceeded")

    def test_boards_have_the_reserve_on_top_and_then_come_again(self, start_fleet: StartFleet) -> None:
        fleet = start_fleet(quota_reserve_bytes=len(latency_blob()))
        device, job = fleet.add_device(), fleet.add_job()
        fleet.enqueue(job, device)
        device.order()
        used = fleet.get("/v1/projects")["items"][0]["sent_bytes"]
        fleet.operator.patch("/v1/projects/default", json={"quota_bytes": used})
        assert (
            fleet.operator.put(f"/v1/blobs/{sha256_of(b'a')}", content=b"a").json()["code"] == "project_quota_exceeded"
        )
        assert device.upload(latency_blob()).status_code == 201
        refused = device.upload(b"more")
        assert (refused.status_code, refused.json()["code"], refused.json()["retry"]) == (
            507,
            "project_quota_exceeded",
            True,
        )
        fleet.operator.patch("/v1/projects/default", json={"quota_bytes": None})
        assert device.upload(b"more").status_code == 201

    @pytest.mark.parametrize("quota", [0, -1, "much", 2**63])
    def test_a_quota_is_a_size(self, fleet: Fleet, quota: object) -> None:
        answer = fleet.operator.patch("/v1/projects/default", json={"quota_bytes": quota})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(("text", "n_bytes"), [("1", 1), ("500MiB", 524_288_000), ("2TiB", 2_199_023_255_552)])
def test_sizes_may_have_units(text: str, n_bytes: int) -> None:
    assert read_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5GiB", "5 GiB", "5GB", "GiB"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(typer.Exit):
        read_size(text)
