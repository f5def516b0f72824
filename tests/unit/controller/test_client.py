"""The Python client against scripted answers: retries that are safe, errors that say what to do."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from edgefleet_controller.client import Client, ClientError, ControllerUnreachable, connect, connection, files

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BACKOFF_S", 0.0)


def make_client(handler: Handler) -> Client:
    return Client("http://controller", "eot_secret", transport=httpx.MockTransport(handler))


def test_a_submission_is_repeated_with_the_same_idempotency_key() -> None:
    keys: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("connection lost")
        return httpx.Response(503 if len(keys) == 2 else 202, json={"id": "job_1"})

    assert make_client(handler).submit_job("m", recipes=["int8"]) == {"id": "job_1"}
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_registering_a_device_is_not_repeated_blindly() -> None:
    calls: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path)
        raise httpx.ReadError("connection lost")

    with pytest.raises(ControllerUnreachable) as caught:
        make_client(handler).add_device("pi", "raspberry-pi-4")
    assert calls == ["/v1/devices"]
    assert "edgefleet serve" in caught.value.message


def test_a_problem_document_becomes_an_error_with_its_code_and_fields() -> None:
    problem = {
        "code": "recipe_invalid",
        "detail": "The recipe is wrong.",
        "errors": [{"field": "amount", "message": "> 0"}],
    }
    with pytest.raises(ClientError) as caught:
        make_client(lambda _: httpx.Response(422, json=problem)).job("job_1")
    assert (caught.value.code, caught.value.status) == ("recipe_invalid", 422)
    assert caught.value.message == "The recipe is wrong. (amount: > 0)"


def test_all_pages_of_a_list_are_read() -> None:
    pages = {"": {"items": [{"id": 1}], "next_cursor": "c2"}, "c2": {"items": [{"id": 2}], "next_cursor": None}}
    client = make_client(lambda request: httpx.Response(200, json=pages[request.url.params.get("cursor", "")]))
    assert [job["id"] for job in client.jobs()] == [1, 2]


def test_waiting_asks_for_versions_newer_than_the_last_seen() -> None:
    versions = iter([("running", 3), ("running", 4), ("completed", 5)])
    asked: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("since"))
        state, version = next(versions)
        return httpx.Response(200, json={"id": "j", "state": state, "version": version})

    seen: list[int] = []
    job = make_client(handler).wait_for_job("j", lambda job: seen.append(job["version"]))
    assert job["state"] == "completed"
    assert asked == [None, "3", "4"]
    assert seen == [3, 4, 5]


def test_a_long_upload_goes_on_where_it_broke_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "IN_PARTS_BYTES", 4)
    file = tmp_path / "model.onnx"
    file.write_bytes(b"0123456789")
    arrived = bytearray()

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"received_bytes": len(arrived)})
        assert int(request.headers["Upload-Offset"]) == len(arrived)
        assert int(request.headers["Content-Length"]) == 10 - len(arrived)
        part = request.read()
        if not arrived:
            arrived.extend(part[:3])
            raise httpx.WriteError("connection lost")
        if len(arrived) == 3:
            arrived.extend(part[:4])
            return httpx.Response(409, json={"code": "upload_offset_mismatch", "retry": True})
        arrived.extend(part)
        return httpx.Response(201)

    assert make_client(handler).upload(file) == hashlib.sha256(b"0123456789").hexdigest()
    assert arrived == b"0123456789"


def test_a_long_upload_that_is_refused_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "IN_PARTS_BYTES", 0)
    (tmp_path / "model.onnx").touch()
    methods: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        methods.append(request.method)
        problem = {"code": "quota_exceeded", "retry": False}
        return (
            httpx.Response(200, json={"received_bytes": 0})
            if request.method == "GET"
            else httpx.Response(507, json=problem)
        )

    with pytest.raises(ClientError) as caught:
        make_client(handler).upload(tmp_path / "model.onnx")
    assert (caught.value.code, methods) == ("quota_exceeded", ["GET", "PATCH"])


def test_an_upload_names_the_hash_of_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights" * 1000)
    received: dict[str, bytes] = {}

    def handler(request: httpx.Request) -> httpx.Response:
        received[request.url.path] = request.read()
        return httpx.Response(201, json={})

    digest = make_client(handler).upload(file)
    assert received == {f"/v1/blobs/{digest}": file.read_bytes()}
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_damaged_download_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    client = make_client(lambda _: httpx.Response(200, content=b"damaged"))
    with pytest.raises(ClientError) as caught:
        client.download_artifact("0" * 64, tmp_path / "model.onnx")
    assert caught.value.code == "artifact_hash_mismatch"
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_not_json_is_not_taken_for_a_controllers() -> None:
    with pytest.raises(ClientError) as caught:
        make_client(lambda _: httpx.Response(200, text="<html>")).health()
    assert caught.value.code == "not_a_controller"


def test_connect_takes_address_and_token_from_the_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EDGEFLEET_URL", "EDGEFLEET_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "serve.json").write_text(json.dumps({"url": "http://127.0.0.1:1234"}))
    with pytest.raises(ClientError) as caught:
        connect(None, tmp_path)
    assert caught.value.code == "no_token"
    (tmp_path / "operator.token").write_text("eot_x\n")
    with connect(None, tmp_path) as client:
        assert client.url == "http://127.0.0.1:1234"
