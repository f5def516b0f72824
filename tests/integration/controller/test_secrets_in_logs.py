"""Requests with every kind of secret, right and wrong, at the most talkative log level: no line holds one."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.controller.conftest import Fleet, device_facts

from edgefleet_agent.client import ControllerClient
from edgefleet_agent.loop.credentials import Credentials
from edgefleet_agent.loop.identity import Identity
from edgefleet_agent.loop.trust import load_trust
from edgefleet_agent.wire.log_lines import JsonFormatter, TextFormatter
from edgefleet_agent.wire.messages import EnrolRequest
from edgefleet_agent.wire.redaction import HIDDEN, redact

PASSWORD = "correct horse battery staple"


@pytest.fixture
def logs() -> Iterator[list[io.StringIO]]:
    """Everything that is logged, as text and as JSON."""
    root, streams, handlers = logging.getLogger(), [], []
    for formatter in (TextFormatter(), JsonFormatter()):
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        root.addHandler(handler)
        streams.append(stream)
        handlers.append(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    yield streams
    root.setLevel(level)
    for handler in handlers:
        root.removeHandler(handler)


def use_every_secret(fleet: Fleet, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Send each kind of secret where it belongs and where it does not; returns them."""
    token = fleet.post("/v1/devices", {"name": "b", "board": "linux-host"})["join_token"]
    wrong = {"join_token": "ejt_" + "w" * 43, "name": "x", "facts": device_facts()}
    fleet.anonymous.post("/agent/v1/enrol", json=wrong)
    folder.mkdir()
    credentials, client = Credentials(folder), ControllerClient(fleet.anonymous)
    request = credentials.prove(EnrolRequest.model_validate({"join_token": token, "facts": device_facts()}))
    enrolment = client.enrol(request)
    credentials.enrolled(enrolment)
    identity = Identity(controller=fleet.url, enrolment=enrolment)
    renewed = credentials.renew(identity, client.with_credential(enrolment.credential))
    trust = load_trust(folder)
    assert renewed is not None
    assert trust is not None
    for _ in range(2):  # the second time the name is taken
        fleet.operator.post("/v1/users", json={"name": "anna", "password": PASSWORD})
    api = fleet.post("/v1/api-tokens", {"name": "t", "user": "anna"})["token"]
    cookie = fleet.anonymous.post("/login", data={"name": "anna", "password": PASSWORD}).cookies["edgefleet_session"]
    fleet.anonymous.post("/login", data={"name": "anna", "password": "wrong " + PASSWORD})
    fleet.anonymous.post("/login", data={"token": api + "x"})
    fleet.anonymous.get(f"/login?token={fleet.services.operator_token}")
    fleet.anonymous.get("/v1/devices", headers={"Authorization": f"Bearer {api}x"})

    def broken(*_: object) -> None:
        raise RuntimeError(f"a bug that tells {api}, {PASSWORD!r} as password={PASSWORD!r} and {enrolment.credential}")

    with monkeypatch.context() as patch:
        patch.setattr("edgefleet_controller.devices.repository.page_of_devices", broken)
        assert fleet.operator.get("/v1/devices").status_code == 500
    return [
        token,
        enrolment.credential,
        renewed.enrolment.credential,
        trust.secret_key,
        api,
        cookie,
        fleet.services.operator_token,
    ]


def test_no_secret_is_logged(
    fleet: Fleet, logs: list[io.StringIO], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = use_every_secret(fleet, tmp_path / "board", monkeypatch)
    for stream in logs:
        text = stream.getvalue()
        assert "unexpected error at GET /v1/devices" in text  # the log was really read
        assert [secret for secret in secrets if secret in text] == []
        assert f"password='{PASSWORD}" not in text
        assert "scrypt$32768" not in text


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("Authorization: Bearer edt_" + "a" * 43, "a" * 43),
        ("Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("cannot connect to postgresql://me:hunter2@db/x", "hunter2"),
        ('{"password": "hunter2"}', "hunter2"),
        ("name=anna&password=hunter2&x=1", "hunter2"),
        ("{'secret_key': 'abcdef'}", "abcdef"),
        ("/login?token=eot_" + "b" * 43, "b" * 43),
    ],
)
def test_a_secret_is_hidden_and_the_rest_is_kept(line: str, secret: str) -> None:
    assert secret not in redact(line)
    assert HIDDEN in redact(line)
    assert redact(line)[:4] == line[:4]


@pytest.mark.parametrize("line", ["run run_01JD took 3.2 ms", "http://127.0.0.1:8470/v1/jobs", "password is too short"])
def test_other_text_is_left_alone(line: str) -> None:
    assert redact(line) == line
