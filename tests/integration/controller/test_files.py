"""Uploads and downloads: hashes, limits, ranges, caching."""

import socket
from urllib.parse import urlsplit

import pytest
from tests.integration.controller.conftest import Fleet, StartFleet, sha256_of

from edgefleet_compression.data.registry import GENERATED
from edgefleet_controller.client import GENERATED_DATA

DATA = bytes(range(256)) * 10


@pytest.fixture
def artifact(fleet: Fleet) -> str:
    """The path of an artifact's file, whose bytes are DATA."""
    device, job = fleet.add_device(), fleet.add_job()
    _, sha256 = fleet.enqueue(job, device, content=DATA)
    return f"/v1/artifacts/{sha256}"


def test_a_new_file_is_201_and_a_known_one_200(fleet: Fleet) -> None:
    path = f"/v1/blobs/{sha256_of(DATA)}"
    assert [fleet.operator.put(path, content=DATA).status_code for _ in range(2)] == [201, 200]
    assert fleet.operator.get(path).content == DATA


@pytest.mark.parametrize("sent", [DATA[:-1], DATA + b"x", b"", b"x" + DATA[1:]])
def test_a_corrupt_or_truncated_upload_is_refused_and_nothing_kept(fleet: Fleet, sent: bytes) -> None:
    path = f"/v1/blobs/{sha256_of(DATA)}"
    answer = fleet.operator.put(path, content=sent)
    assert (answer.status_code, answer.json()["code"], answer.json()["retry"]) == (422, "blob_hash_mismatch", True)
    assert fleet.operator.get(path).status_code == 404
    assert [p for p in fleet.services.settings.blob_dir.rglob("*") if p.is_file()] == []


def test_an_upload_that_breaks_off_leaves_nothing(fleet: Fleet) -> None:
    address = urlsplit(fleet.url)
    head = f"PUT /v1/blobs/{sha256_of(DATA)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n"
    head += f"Authorization: Bearer {fleet.services.operator_token}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + DATA[:100])
    while list(fleet.services.settings.blob_dir.glob("incoming/*")):
        fleet.operator.get("/healthz")  # until the server has seen the end
    assert fleet.operator.get(f"/v1/blobs/{sha256_of(DATA)}").status_code == 404


def test_a_file_above_the_limit_is_refused_while_it_arrives(start_fleet: StartFleet) -> None:
    fleet = start_fleet(max_blob_bytes=1024)
    answer = fleet.operator.put(f"/v1/blobs/{sha256_of(DATA)}", content=iter([DATA]))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("name", ["x", "A" * 64, "0" * 63, "..%2f..%2fetc%2fpasswd"])
def test_a_name_that_is_no_hash_is_refused(fleet: Fleet, name: str) -> None:
    assert fleet.operator.put(f"/v1/blobs/{name}", content=b"").status_code in (404, 422)


def test_a_download_says_what_it_is_and_that_it_never_changes(fleet: Fleet, artifact: str) -> None:
    answer = fleet.operator.get(artifact)
    assert answer.content == DATA
    assert answer.headers["ETag"] == f'"sha256:{sha256_of(DATA)}"'
    assert "immutable" in answer.headers["Cache-Control"]
    head = fleet.operator.head(artifact)
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(DATA)))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("bytes=0-9", DATA[:10]), ("bytes=100-", DATA[100:]), ("bytes=-5", DATA[-5:]), ("bytes=2559-9999", DATA[2559:])],
)
def test_a_range_is_206(fleet: Fleet, artifact: str, asked: str, expected: bytes) -> None:
    answer = fleet.operator.get(artifact, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, expected)


@pytest.mark.parametrize("asked", ["bytes=9-1", "bytes=x-y", "lines=1-2", "bytes=0-1,4-5", "bytes=-"])
def test_a_malformed_or_multiple_range_is_ignored(fleet: Fleet, artifact: str, asked: str) -> None:
    answer = fleet.operator.get(artifact, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, DATA)


@pytest.mark.parametrize("asked", ["bytes=2560-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_outside_is_416_with_the_size(fleet: Fleet, artifact: str, asked: str) -> None:
    answer = fleet.operator.get(artifact, headers={"Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == "bytes */2560"


def test_a_range_of_another_file_gives_the_whole(fleet: Fleet, artifact: str) -> None:
    same = {"Range": "bytes=0-9", "If-Range": f'"sha256:{sha256_of(DATA)}"'}
    other = {"Range": "bytes=0-9", "If-Range": '"sha256:0"'}
    assert fleet.operator.get(artifact, headers=same).status_code == 206
    assert fleet.operator.get(artifact, headers=other).content == DATA


def test_a_file_that_the_client_has_is_304(fleet: Fleet, artifact: str) -> None:
    etag = f'"sha256:{sha256_of(DATA)}"'
    for tags in (etag, f'"a", W/{etag}', "*"):
        answer = fleet.operator.get(artifact, headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content) == (304, b"")
    assert fleet.operator.get(artifact, headers={"If-None-Match": '"sha256:0"'}).status_code == 200


def test_a_file_that_was_not_compiled_is_no_artifact(fleet: Fleet) -> None:
    assert fleet.operator.get(f"/v1/artifacts/{fleet.upload(b'model x')}").status_code == 404


def test_a_model_is_registered_from_an_uploaded_file(fleet: Fleet) -> None:
    first, second = fleet.add_model("net"), fleet.add_model("net")
    assert fleet.get("/v1/models/net")["id"] == second["id"], "the newest of the name"
    assert fleet.get(f"/v1/models/{first['id']}")["facts"]["n_parameters"] == 1


def test_a_synthetic_data_set_is_kept_with_its_settings(fleet: Fleet) -> None:
    body = {"name": "text", "blob_sha256": fleet.upload(b"model"), "data": {"kind": "generated", "name": "keywords"}}
    data = fleet.post("/v1/models", body)["data"]
    assert {key: data[key] for key in ("kind", "name", "length", "vocabulary", "split_seed")} == {
        "kind": "generated",
        "name": "keywords",
        "length": 16,
        "vocabulary": 64,
        "split_seed": 0,
    }
    assert frozenset({"keywords"}) == GENERATED_DATA == GENERATED


def test_a_model_whose_file_is_refused_is_not_registered(fleet: Fleet) -> None:
    body = {"name": "net", "blob_sha256": fleet.upload(b"junk")}
    answer = fleet.operator.post("/v1/models", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "model_file_invalid")
    assert fleet.get("/v1/models")["items"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"blob_sha256": "0" * 64}, "blob_missing"),
        ({"data": {"kind": "npz", "sha256": "0" * 64}}, "unknown_data_set"),
        ({"data": {"kind": "packaged", "name": "nonsense"}}, "unknown_data_set"),
        ({"data": {"kind": "generated", "name": "nonsense"}}, "invalid_request"),
        ({"data": {"kind": "packaged", "name": "digits", "side": 9}}, "invalid_request"),
        ({"data": {"kind": "pickle"}}, "invalid_request"),
        ({"name": "../x"}, "invalid_request"),
    ],
)
def test_a_model_that_cannot_be_is_refused_with_a_code(fleet: Fleet, change: dict[str, object], code: str) -> None:
    body = {"name": "net", "blob_sha256": fleet.upload(b"model")} | change
    answer = fleet.operator.post("/v1/models", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_an_artifact_s_manifest_can_be_read_and_an_unknown_one_is_not_found(fleet: Fleet) -> None:
    assert fleet.operator.get(f"/v1/artifacts/{'0' * 64}/manifest").json()["code"] == "not_found"
