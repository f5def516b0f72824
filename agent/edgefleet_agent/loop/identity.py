import os
from pathlib import Path
from typing import Optional

from pydantic import BaseModel, ConfigDict, ValidationError

from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.wire.messages import EnrolResponse

IDENTITY_FILE = "identity.json"
OWNER_ONLY = 0o600


class Identity(BaseModel):
    """Who this board is for which controller."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    controller: str
    enrolment: EnrolResponse


def load_identity(state_directory: Path) -> Optional[Identity]:
    """The stored identity, or None before the first enrolment; raises SettingsInvalid when the file is damaged."""
    path = state_directory / IDENTITY_FILE
    try:
        return Identity.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as err:
        raise SettingsInvalid("{} is unreadable ({}); remove it and enrol again".format(path, err)) from err


def save_identity(state_directory: Path, identity: Identity) -> None:
    """Store the identity durably and readable by its owner only."""
    path = state_directory / IDENTITY_FILE
    draft = path.with_suffix(".unfinished")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        # what an older agent would not know is kept in trust.json, so that it can be gone back to
        handle.write(identity.model_dump_json(exclude={"enrolment": {"pending", "signing_keys"}}))
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(path)
