"""TLS of the controller's own with a pinned authority, and a proxy that alone is believed."""

import asyncio
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.integration.controller.conftest import Fleet, StartFleet, device_facts

from edgefleet_agent.client import ControllerClient, open_http
from edgefleet_agent.errors import Unreachable
from edgefleet_agent.settings import AgentSettings
from edgefleet_agent.wire.messages import EnrolRequest
from edgefleet_controller.listening import ListeningRefused, SafeEdge, require_safe_listening, server_options
from edgefleet_controller.settings import Settings


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgefleet test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(fleet: Fleet, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The fleet's app served once more, with TLS as ``edgefleet serve`` sets it up."""
    settings = Settings(data_dir=fleet.services.settings.data_dir, tls_cert=certificate[0], tls_key=certificate[1])
    require_safe_listening(settings)
    config = uvicorn.Config(fleet.app, port=0, log_level="critical", lifespan="off", **server_options(settings))
    server, started = uvicorn.Server(config), threading.Event()
    original = server.startup

    async def startup(sockets: None = None) -> None:
        await original(sockets)
        started.set()

    monkeypatch.setattr(server, "startup", startup)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        assert started.wait(30)
        yield f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def enrol(fleet: Fleet, url: str, ca_file: Path) -> str:
    token = fleet.post("/v1/join-tokens", {})["join_token"]
    request = EnrolRequest.model_validate({"join_token": token, "name": "b", "facts": device_facts()})
    with open_http(AgentSettings(controller=url, ca_file=str(ca_file))) as http:
        return ControllerClient(http).enrol(request).name


def test_an_agent_enrols_over_tls_with_the_authority_it_was_given(
    fleet: Fleet, secure: str, certificate: tuple[Path, Path]
) -> None:
    assert enrol(fleet, secure, certificate[0]) == "b"


def test_an_agent_that_was_given_another_authority_sends_nothing(fleet: Fleet, secure: str, tmp_path: Path) -> None:
    other, _ = make_certificate(tmp_path / "other")
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        enrol(fleet, secure, other)
    assert fleet.operator.get("/v1/devices").json()["items"] == []


def test_over_tls_the_cookie_is_secure_and_browsers_are_told_to_stay(
    fleet: Fleet, secure: str, certificate: tuple[Path, Path]
) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    with httpx.Client(base_url=secure, verify=context) as browser:
        answer = browser.post("/login", data={"token": fleet.services.operator_token}, headers={"Origin": secure})
        assert "Secure" in answer.headers["Set-Cookie"]
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"host": "0.0.0.0"}, "public_address_refused"),
        ({"host": "192.0.2.1"}, "public_address_refused"),
        ({"host": "0.0.0.0", "tls_cert": "x"}, "tls_incomplete"),
        ({"host": "0.0.0.0", "tls_cert": "/nowhere", "tls_key": "/nowhere"}, "tls_unusable"),
        ({"host": "0.0.0.0", "behind_proxy": "everybody"}, "proxy_invalid"),
    ],
)
def test_nothing_listens_in_the_open(tmp_path: Path, options: dict[str, str], code: str) -> None:
    with pytest.raises(ListeningRefused) as caught:
        require_safe_listening(Settings(data_dir=tmp_path, **options))  # type: ignore[arg-type]
    assert caught.value.code == code


@pytest.mark.parametrize("options", [{}, {"host": "::1"}, {"host": "0.0.0.0", "behind_proxy": "192.0.2.1,192.0.2.2"}])
def test_these_are_safe(tmp_path: Path, options: dict[str, str]) -> None:
    require_safe_listening(Settings(data_dir=tmp_path, **options))  # type: ignore[arg-type]


def test_every_answer_forbids_frames_and_guessing_of_types(fleet: Fleet) -> None:
    for path in ("/healthz", "/v1/devices", "/login", "/static/x/css/base.css", "/openapi.json"):
        answer = fleet.operator.get(path)
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert "server" not in answer.headers or answer.headers["server"] == "uvicorn"


Ask = Callable[..., dict[str, object]]


@pytest.fixture
def ask() -> Ask:
    """What the app sees of a request from a peer, behind the proxies 192.0.2.1 and 192.0.2.2; its status too."""

    def asked(peer: str, **headers: str) -> dict[str, object]:
        seen: dict[str, object] = {}

        async def app(scope: dict[str, object], receive: object, send: Callable[..., object]) -> None:
            seen.update(client=scope["client"][0], scheme=scope["scheme"])  # type: ignore[index]
            await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[misc]
            await send({"type": "http.response.body", "body": b""})  # type: ignore[misc]

        async def send(message: dict[str, object]) -> None:
            seen.setdefault("status", message.get("status"))

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": raw, "path": "/", "method": "GET"}
        scope |= {"query_string": b"", "server": ("x", 80)}

        async def receive() -> dict[str, object]:
            return {"type": "http.request"}

        edge = SafeEdge(app, ["192.0.2.1", "192.0.2.2"])  # type: ignore[arg-type]
        asyncio.run(edge(scope, receive, send))  # type: ignore[arg-type]
        return seen

    return asked


def test_the_proxy_is_believed(ask: Ask) -> None:
    seen = ask("192.0.2.1", x_forwarded_for="203.0.113.9", x_forwarded_proto="https")
    assert (seen["client"], seen["scheme"]) == ("203.0.113.9", "https")


def test_what_the_client_wrote_before_the_proxy_is_not(ask: Ask) -> None:
    seen = ask("192.0.2.1", x_forwarded_for="127.0.0.1, 203.0.113.9, 192.0.2.2")
    assert seen["client"] == "203.0.113.9"


def test_whoever_goes_around_the_proxy_is_refused(ask: Ask) -> None:
    seen = ask("203.0.113.9", x_forwarded_for="127.0.0.1", x_forwarded_proto="https")
    assert seen == {"status": 403}


def test_a_process_on_the_host_is_not_believed_to_be_another(ask: Ask) -> None:
    seen = ask("127.0.0.1", x_forwarded_for="203.0.113.9", x_forwarded_proto="https")
    assert (seen["client"], seen["scheme"]) == ("127.0.0.1", "http")


def test_without_a_proxy_nobody_is_believed(start_fleet: StartFleet) -> None:
    fleet = start_fleet()
    fleet.anonymous.post("/login", data={"token": "x"}, headers={"X-Forwarded-For": "203.0.113.9"})
    assert fleet.get("/v1/audit")["items"][0]["address"] == "127.0.0.1"
