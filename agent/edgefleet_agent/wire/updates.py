"""The update of the agent itself: what a board is offered, and how it went."""

from typing import Literal, Optional

from pydantic import Field

from edgefleet_agent.wire.base import Wire
from edgefleet_agent.wire.signing import HEX_64, Signed

UPDATE = "edgefleet update 1"
OFFER_HEADER = "Edgefleet-Update"
"""Header of a claim's answer: ``GET /agent/v1/update`` has something for this board."""


class UpdateStatement(Wire):
    """What the controller signs when it offers a version."""

    purpose: str = UPDATE
    device_id: str
    nonce: str = Field(description="random number of the request that this answers")
    rollout_id: str = Field(description="identifier of the rollout")
    version: str
    sha256: str = Field(description="hash of the wheel")
    size_bytes: int = Field(description="size of the wheel")
    created: str = Field(description="the controller's time, for people; the device does not judge by it")


class UpdateOffer(Wire):
    """A version of the agent that the board is to install."""

    rollout_id: str = Field(description="identifier of the rollout")
    version: str = Field(pattern="^[0-9][0-9A-Za-z.+!_]{0,63}$", description="version of the agent")
    sha256: str = Field(pattern=HEX_64, description="hash of the wheel, which is fetched from /agent/v1/blobs")
    size_bytes: int = Field(ge=1, description="size of the wheel")
    signature: Optional[Signed] = Field(default=None, description="UpdateStatement about the offer, signed")


class UpdateOutcome(Wire):
    """A board did not take a version, or went back from it."""

    rollout_id: str = Field(description="identifier of the rollout")
    outcome: Literal["failed", "rolled_back"] = Field(
        description="failed: not installed; rolled_back: never checked in"
    )
    message: str = Field(max_length=2000, description="why, for people")
