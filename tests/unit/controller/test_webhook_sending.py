"""Messages to addresses that people chose: where they go, where they never go, how the reader knows them."""

import hashlib
import hmac
import http.server
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgefleet_controller.regressions import sending
from edgefleet_controller.regressions.errors import WebhookRefused
from edgefleet_controller.regressions.sending import HttpsSender, NotDelivered, check_address, public_address, sign


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com/hook",
        "https://",
        "https:///path",
        "https://name:word@example.com/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://192.168.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://0.0.0.0/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\r\nX-Injected: 1",
    ],
)
def test_address_that_is_no_public_https_one_is_refused(url: str) -> None:
    with pytest.raises(WebhookRefused):
        check_address(url)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["100.64.0.1"],  # shared address space, RFC 6598
        ["169.254.1.1"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:192.168.1.1"],
        ["224.0.0.1"],
        ["93.184.215.14", "10.0.0.1"],  # one of several
        [],
    ],
)
def test_name_that_leads_into_a_private_network_is_not_called(addresses: list[str]) -> None:
    with pytest.raises(NotDelivered):
        public_address("hook.example", 443, lambda _host, _port: addresses)


def test_name_is_resolved_once_so_that_a_second_answer_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the first answer is public and checked, the second would be this machine."""
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])
    connected: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], _timeout: float) -> None:
        connected.append(address)
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.create_connection", connect)
    with pytest.raises(NotDelivered):
        HttpsSender(resolver=lambda _host, _port: next(answers)).send("https://hook.example/x", b"{}", {})
    assert connected == [("93.184.215.14", 443)]


def test_signature_is_hmac_over_instant_and_body() -> None:
    digest = hmac.new(b"whs_secret", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert sign("whs_secret", 1700000000, b'{"a":1}') == f"t=1700000000,v1={digest}"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    received: list[tuple[str, bytes, str | None]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, body, self.headers["Host"]))
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("Location", "https://elsewhere.example/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its base names it so
        pass


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, ssl.SSLContext]]:
    """An HTTPS server for hook.example on loopback, and a context that trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = _certificate(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, ssl.create_default_context(cafile=str(certificate))
    server.shutdown()
    thread.join()
    server.server_close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook.example")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hook.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def sender(receiver: tuple[int, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> HttpsSender:
    """One that takes loopback for a public address, which alone lets it reach a server of the tests."""
    monkeypatch.setattr(sending, "public_address", lambda _host, _port, _resolver: "127.0.0.1")
    return HttpsSender(context=receiver[1])


def test_message_arrives_at_the_checked_address_under_its_name(
    receiver: tuple[int, ssl.SSLContext], sender: HttpsSender
) -> None:
    sender.send(f"https://hook.example:{receiver[0]}/200", b"{}", {"X-Edgefleet-Delivery": "dlv_1"})
    assert Receiver.received[-1] == ("/200", b"{}", f"hook.example:{receiver[0]}")


@pytest.mark.parametrize("status", [302, 404, 500])
def test_other_answer_than_success_is_no_delivery_and_no_redirect_is_followed(
    receiver: tuple[int, ssl.SSLContext], sender: HttpsSender, status: int
) -> None:
    n_before = len(Receiver.received)
    with pytest.raises(NotDelivered, match=str(status)):
        sender.send(f"https://hook.example:{receiver[0]}/{status}", b"{}", {})
    assert len(Receiver.received) == n_before + 1


def test_certificate_of_another_name_is_refused(receiver: tuple[int, ssl.SSLContext], sender: HttpsSender) -> None:
    with pytest.raises(NotDelivered, match="SSLCertVerificationError"):
        sender.send(f"https://other.example:{receiver[0]}/200", b"{}", {})
