"""Enrolment with the device's own key, renewed credentials, and orders that a board takes from its controller only."""

import json
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from tests.integration.controller.conftest import Fleet, JsonObject, StartFleet, device_facts

from edgefleet_agent.client import ControllerClient
from edgefleet_agent.errors import CredentialRefused
from edgefleet_agent.loop.credentials import Credentials
from edgefleet_agent.loop.identity import Identity, load_identity
from edgefleet_agent.loop.trust import Asked, load_trust
from edgefleet_agent.wire.messages import ClaimRequest, ClaimResponse, EnrolRequest
from edgefleet_agent.wire.signing import OrderStatement
from edgefleet_controller.signing.key_ring import KeyRing
from edgefleet_controller.signing.orders import sign_order


class Board:
    """The agent's own client and keys, without its loop."""

    def __init__(self, fleet: Fleet, folder: Path, token: str, **fields: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.credentials = folder, Credentials(folder)
        anonymous = ControllerClient(fleet.anonymous)
        request = EnrolRequest.model_validate({"join_token": token, "facts": device_facts(), **fields})
        self.enrolment = anonymous.enrol(self.credentials.prove(request))
        self.credentials.enrolled(self.enrolment)
        self.client = anonymous.with_credential(self.enrolment.credential)
        self.headers = {"Authorization": f"Bearer {self.enrolment.credential}"}
        self.device_id = self.enrolment.device_id
        self.nonce = ""

    def claim(self, **fields: object) -> ClaimResponse | None:
        self.nonce = self.credentials.new_nonce()
        request = {"wait_s": 0, "facts_sha256": "f" * 64, "facts": device_facts(), "nonce": self.nonce, **fields}
        return self.client.claim(ClaimRequest.model_validate(request))

    def refusal(self, response: ClaimResponse) -> str | None:
        error = self.credentials.refusal(response, Asked(self.device_id, self.nonce), self.client)
        return None if error is None else error.code.value


@pytest.fixture
def board(fleet: Fleet, tmp_path: Path) -> Board:
    token = fleet.post("/v1/devices", {"name": "b", "board": "linux-host"})["join_token"]
    return Board(fleet, tmp_path / "board", token)


@pytest.fixture
def claimed(fleet: Fleet, board: Board) -> ClaimResponse:
    """An order as the board received it."""
    fleet.enqueue(fleet.add_job(), SimpleNamespace(device_id=board.device_id))  # type: ignore[arg-type]
    response = board.claim()
    assert response is not None
    return response


def test_a_signed_order_is_taken(board: Board, claimed: ClaimResponse) -> None:
    assert claimed.order is not None
    assert claimed.signature is not None
    assert board.refusal(claimed) is None
    statement = OrderStatement.model_validate_json(claimed.signature.payload)
    assert (statement.run_id, statement.sha256) == (claimed.order.run_id, claimed.order.artifact.sha256)


def tampered(response: ClaimResponse, **changes: object) -> ClaimResponse:
    document = json.loads(response.model_dump_json(exclude_unset=True))
    document["order"].update(changes)
    return ClaimResponse.model_validate(document)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda one: tampered(one, artifact={"sha256": "0" * 64, "size_bytes": 1}), "order_signature_invalid"),
        (lambda one: tampered(one, artifact_name="other.onnx"), "order_signature_invalid"),
        (lambda one: tampered(one, attempt=2), "order_signature_invalid"),
        (lambda one: one.model_copy(update={"signature": None}), "order_unsigned"),
        (
            lambda one: one.model_copy(
                update={"signature": one.signature.model_copy(update={"payload": one.signature.payload + " "})}
            ),
            "order_signature_invalid",
        ),
        (
            lambda one: one.model_copy(update={"signature": one.signature.model_copy(update={"key_id": "0" * 16})}),
            "signing_key_unknown",
        ),
    ],
)
def test_anything_else_is_refused_with_its_code(
    board: Board, claimed: ClaimResponse, change: object, code: str
) -> None:
    assert callable(change)
    assert board.refusal(change(claimed)) == code


def test_an_order_of_an_earlier_claim_is_not_fresh(board: Board, claimed: ClaimResponse) -> None:
    board.nonce = board.credentials.new_nonce()
    assert board.refusal(claimed) == "order_not_fresh"


def test_an_order_for_another_device_is_refused(board: Board, claimed: ClaimResponse) -> None:
    board.device_id = "dev_other"
    assert board.refusal(claimed) == "order_signature_invalid"


def test_a_rotated_key_is_followed_and_remembered(fleet: Fleet, board: Board, claimed: ClaimResponse) -> None:
    old = board.enrolment.signing_keys[0].key_id
    for _ in range(2):  # a board that slept through two rotations follows both
        new = fleet.post("/v1/signing-keys/rotate")["keys"][-1]["key_id"]
    assert board.claim(wait_s=0) is None  # it holds a run; the next order is signed anew
    order = claimed.order
    assert order is not None
    document = json.loads(order.model_dump_json(exclude_unset=True))
    signed = sign_order(
        fleet.services.signing_keys, document, device_id=board.device_id, nonce=board.nonce, now=fleet.clock.now()
    )
    assert signed.key_id == new != old
    assert board.refusal(claimed.model_copy(update={"signature": signed})) is None
    trust = load_trust(board.folder)
    assert trust is not None
    assert [key.key_id for key in trust.keys] == [new]
    # the old key is worth nothing from now on
    board.nonce = OrderStatement.model_validate_json(claimed.signature.payload).nonce if claimed.signature else ""
    assert board.refusal(claimed) == "signing_key_unknown"


def test_a_key_that_nobody_announced_is_not_trusted(fleet: Fleet, board: Board, claimed: ClaimResponse) -> None:
    fleet.services.settings.resolved_signing_key_file.unlink()
    stranger = KeyRing(fleet.services.settings.resolved_signing_key_file, fleet.clock.now)
    assert claimed.signature is not None
    forged = stranger.sign(json.loads(claimed.signature.payload))
    assert board.refusal(claimed.model_copy(update={"signature": forged})) == "signing_key_unknown"


def test_the_signing_key_is_outside_of_the_database_and_its_owner_s_only(fleet: Fleet) -> None:
    path = fleet.services.settings.resolved_signing_key_file
    assert path.stat().st_mode & 0o777 == 0o600
    secret = json.loads(path.read_text())["secret_key"]
    assert secret.encode() not in (fleet.services.settings.data_dir / "edgefleet.db").read_bytes()
    assert secret not in fleet.operator.get("/v1/signing-keys").text


def test_the_secret_of_a_board_stays_on_it(board: Board) -> None:
    trust = load_trust(board.folder)
    assert trust is not None
    assert (board.folder / "trust.json").stat().st_mode & 0o777 == 0o600
    assert trust.secret_key not in repr(trust)


def enrol(fleet: Fleet, token: str, **fields: object) -> httpx.Response:
    body = {"join_token": token, "facts": device_facts(), **fields}
    return fleet.anonymous.post("/agent/v1/enrol", json=body)


def test_a_board_proves_that_it_holds_its_key(fleet: Fleet, board: Board) -> None:
    token = fleet.post("/v1/join-tokens", {})["join_token"]
    stolen = {"public_key": "11" * 32, "key_proof": "22" * 64}
    for fields in (stolen, {"public_key": "11" * 32}):
        answer = enrol(fleet, token, name="n", **fields)
        assert (answer.status_code, answer.json()["code"]) == (422, "device_key_refused")
    assert enrol(fleet, token, name="n").status_code == 200  # a refused request does not use the token up


@pytest.mark.parametrize("binding", [{"board": "jetson-nano"}, {"serial": "1000"}])
def test_a_token_for_another_board_is_refused_and_not_used_up(fleet: Fleet, binding: JsonObject) -> None:
    token = fleet.post("/v1/join-tokens", binding)["join_token"]
    answer = enrol(fleet, token, name="n", serial="2000")
    assert (answer.status_code, answer.json()["code"]) == (403, "join_token_mismatch")
    facts = device_facts() | {"board": "jetson-nano"}
    assert enrol(fleet, token, name="n", serial="1000", facts=facts).status_code == 200


def test_the_token_s_labels_count_more_than_the_board_s(fleet: Fleet) -> None:
    token = fleet.post("/v1/join-tokens", {"labels": {"rack": "a"}})["join_token"]
    assert enrol(fleet, token, name="n", facts=device_facts() | {"labels": {"rack": "b"}}).status_code == 200
    assert fleet.get("/v1/devices/n")["labels"]["rack"] == "a"


def test_a_pending_device_gets_no_runs_until_it_is_accepted(fleet: Fleet, tmp_path: Path) -> None:
    created = fleet.post("/v1/devices", {"name": "b", "board": "linux-host"})
    token = fleet.post("/v1/join-tokens", {"device": "b", "auto_accept": False})["join_token"]
    board = Board(fleet, tmp_path / "board", token)
    assert board.enrolment.pending
    assert fleet.get("/v1/devices/b")["state"] == "pending"
    job = fleet.add_job(devices=["b"])
    fleet.enqueue(job, SimpleNamespace(device_id=created["id"]))  # type: ignore[arg-type]
    assert board.claim() is None
    fleet.post("/v1/devices/b/accept")
    response = board.claim()
    assert response is not None
    assert response.order is not None


def test_a_new_credential_with_overlap(fleet: Fleet, board: Board) -> None:
    identity = Identity(controller=fleet.url, enrolment=board.enrolment)
    renewed = board.credentials.renew(identity, board.client)
    assert renewed is not None
    stored = load_identity(board.folder)
    assert stored is not None
    assert stored.enrolment.credential == renewed.enrolment.credential != board.enrolment.credential
    new = board.client.with_credential(renewed.enrolment.credential)
    assert new.signing_keys() == board.client.signing_keys()  # both work
    fleet.clock.advance(fleet.services.settings.credential_overlap_s)
    with pytest.raises(CredentialRefused):
        board.client.signing_keys()
    assert new.signing_keys().keys


def test_an_answer_that_was_lost_locks_nobody_out(fleet: Fleet, board: Board) -> None:
    identity = Identity(controller=fleet.url, enrolment=board.enrolment)
    lost = board.credentials.renew(identity, board.client)
    found = board.credentials.renew(identity, board.client)
    assert lost is not None
    assert found is not None
    assert board.client.with_credential(found.enrolment.credential).signing_keys().keys
    with pytest.raises(CredentialRefused):
        board.client.with_credential(lost.enrolment.credential).signing_keys()


def test_a_stolen_credential_without_the_key_cannot_be_renewed(fleet: Fleet, board: Board) -> None:
    answer = fleet.anonymous.post("/agent/v1/rotate", json={"proof": "00" * 64}, headers=board.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "device_key_refused")


def test_a_revoked_device_is_refused_with_both_credentials(fleet: Fleet, board: Board) -> None:
    identity = Identity(controller=fleet.url, enrolment=board.enrolment)
    renewed = board.credentials.renew(identity, board.client)
    assert renewed is not None
    fleet.post("/v1/devices/b/revoke")
    for credential in (board.enrolment.credential, renewed.enrolment.credential):
        with pytest.raises(CredentialRefused):
            board.client.with_credential(credential).signing_keys()


def test_an_old_credential_is_asked_to_be_renewed(fleet: Fleet, board: Board) -> None:
    fleet.clock.advance(fleet.services.settings.credential_life_s)
    fleet.enqueue(fleet.add_job(devices=["b"]), SimpleNamespace(device_id=board.device_id))  # type: ignore[arg-type]
    response = board.claim()
    assert response is not None
    assert response.rotate_credential


def test_an_agent_of_protocol_1_gets_answers_that_it_knows(fleet: Fleet) -> None:
    token = fleet.post("/v1/devices", {"name": "old", "board": "linux-host"})["join_token"]
    answer = enrol(fleet, token, protocol=1)
    assert set(answer.json()) == {"device_id", "name", "credential", "heartbeat_s", "poll_wait_s"}


def test_agents_without_a_key_may_be_refused(start_fleet: StartFleet) -> None:
    fleet = start_fleet(require_device_key=True)
    token = fleet.post("/v1/devices", {"name": "old", "board": "linux-host"})["join_token"]
    assert enrol(fleet, token).json()["code"] == "device_key_refused"


def test_a_controller_may_hand_out_signed_orders_only(start_fleet: StartFleet) -> None:
    """Boards that enrolled before this was asked for are refused too, and may still say goodbye."""
    before = start_fleet()
    old = before.add_device("old")
    fleet = start_fleet(require_device_key=True, database_url=before.services.settings.resolved_database_url)
    body = {"wait_s": 0, "facts_sha256": "f" * 64}
    refused = fleet.anonymous.post("/agent/v1/claim", json=body, headers=old.headers)
    assert (refused.status_code, refused.json()["code"]) == (426, "upgrade_required")
    assert refused.json()["minimum_protocol"] == 2
    checked = fleet.anonymous.post("/agent/v1/claim", json=body | {"nonce": "0" * 32}, headers=old.headers)
    assert checked.status_code in (200, 204)
    leaving = fleet.anonymous.post("/agent/v1/claim", json=body | {"draining": True}, headers=old.headers)
    assert leaving.status_code == 204


def test_guessing_join_tokens_is_slowed_down(start_fleet: StartFleet) -> None:
    fleet = start_fleet(failures_per_min=3)
    answers = [enrol(fleet, f"ejt_{number}", name="n") for number in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
