"""Signs the orders and updates that devices are handed."""

from datetime import datetime
from typing import Any

from edgefleet_agent.wire.signing import OrderStatement, Signed, document_sha256
from edgefleet_agent.wire.updates import UpdateStatement
from edgefleet_controller.signing.key_ring import KeyRing


def sign_order(keys: KeyRing, order: dict[str, Any], *, device_id: str, nonce: str, now: datetime) -> Signed:
    """The signed statement about an order, for this device and in answer to this claim alone."""
    artifact, manifest = order["artifact"], order.get("manifest") or {}
    statement = OrderStatement(
        device_id=device_id,
        nonce=nonce,
        run_id=order["run_id"],
        attempt=order["attempt"],
        order_sha256=document_sha256(order),
        sha256=artifact["sha256"],
        size_bytes=artifact["size_bytes"],
        kind=order.get("kind", "measure"),
        target=str(manifest.get("target", "")),
        runtime=order["runtime"],
        created=now.isoformat(),
        lease_s=order["lease_s"],
    )
    return keys.sign(statement.model_dump())


def sign_update(keys: KeyRing, offer: dict[str, Any], *, device_id: str, nonce: str, now: datetime) -> Signed:
    """The signed statement about an update, for this device and in answer to this request alone."""
    statement = UpdateStatement(device_id=device_id, nonce=nonce, created=now.isoformat(), **offer)
    return keys.sign(statement.model_dump())
