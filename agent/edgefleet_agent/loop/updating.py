"""Takes the versions of the agent that the controller offers, and tells it of those that did not work out."""

import logging
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Optional

from pydantic import BaseModel, ConfigDict, ValidationError

from edgefleet_agent.cache import ArtifactCache
from edgefleet_agent.client import ControllerClient, Download
from edgefleet_agent.errors import DiskFull, DownloadFailed, HashMismatch, RequestRefused, Unreachable, UpdateFailed
from edgefleet_agent.loop.credentials import Credentials
from edgefleet_agent.loop.stopping import StopSwitch
from edgefleet_agent.loop.trust import Asked
from edgefleet_agent.loop.versions import Versions
from edgefleet_agent.settings import AGENT_VERSION
from edgefleet_agent.wire.report import BlobRef
from edgefleet_agent.wire.updates import UpdateOffer, UpdateOutcome

log = logging.getLogger(__name__)

MAX_MESSAGE = 2000


class Note(BaseModel):
    """The offer that was taken last, until the controller knows how it ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rollout_id: str
    version: str
    failure: Optional[str] = None


class Updating:
    """The update of one agent, over its starts; what must survive them is kept in ``offer.json`` of the state folder."""

    def __init__(self, state_directory: Path, versions: Versions, cache: ArtifactCache, stop: StopSwitch) -> None:
        self._versions, self._cache, self._stop = versions, cache, stop
        self._folder, self._file = state_directory, state_directory / "offer.json"
        self._note = self._load()

    def checked_in(self, client: ControllerClient) -> None:
        """The controller has answered a claim: the running version stays, and one that did not get so far is told of."""
        self._versions.confirm()
        note = self._note
        if note is None:
            return
        if note.failure is not None:
            self._tell(client, UpdateOutcome(rollout_id=note.rollout_id, outcome="failed", message=note.failure))
        elif self._versions.trial() is not None:
            return  # it is installed and was not started yet
        elif self._versions.current() == note.version:
            self._forget()
        else:
            message = "version {} did not check in and was dropped".format(note.version)
            self._tell(client, UpdateOutcome(rollout_id=note.rollout_id, outcome="rolled_back", message=message))

    def take(self, client: ControllerClient, device_id: str, credentials: Credentials) -> bool:
        """Install what is offered; True if this process has to end so that the new version starts.

        Nothing changes where that is not possible; what a later try may mend is tried again after the next claim.
        """
        asked = Asked(device_id, credentials.new_nonce())
        try:
            offer = client.take_update(asked.nonce)
        except (RequestRefused, Unreachable) as err:
            log.info("no update: %s", err)
            return False
        if offer.version == (self._versions.current() or AGENT_VERSION):
            return False  # the controller has not looked since this version checked in
        try:
            credentials.require_update(offer, asked, client)
            self._install(offer, client)
        except (HashMismatch, DiskFull, RequestRefused, UpdateFailed, OSError) as err:
            log.warning("version %s is not taken: %s", offer.version, err)
            self._keep(Note(rollout_id=offer.rollout_id, version=offer.version, failure=str(err)[:MAX_MESSAGE]))
            return False
        except (DownloadFailed, Unreachable) as err:
            log.warning("version %s could not be fetched now: %s", offer.version, err)
            return False
        self._keep(Note(rollout_id=offer.rollout_id, version=offer.version))
        log.info("version %s is installed and starts next", offer.version)
        return True

    def _install(self, offer: UpdateOffer, client: ControllerClient) -> None:
        def source(offset: int) -> "AbstractContextManager[Download]":
            return client.download(offer.sha256, offset)

        ref = BlobRef(sha256=offer.sha256, size_bytes=offer.size_bytes)
        fetched = self._cache.fetch(ref, source, on_chunk=lambda: self._stop.wait(0))
        wheel = self._folder / "edgefleet_agent-{}-py3-none-any.whl".format(offer.version)
        try:
            shutil.copyfile(fetched, wheel)
            self._versions.install(wheel)
        finally:
            wheel.unlink(missing_ok=True)

    def _tell(self, client: ControllerClient, outcome: UpdateOutcome) -> None:
        try:
            client.report_update(outcome)
        except Unreachable as err:
            log.info("the outcome of the update is told after the next claim: %s", err)
            return
        except RequestRefused as err:
            log.warning("the controller does not want to know how the update ended: %s", err)
        self._forget()

    def _load(self) -> Optional[Note]:
        try:
            return Note.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            log.warning("%s is damaged; the controller will see how the update ended by the version alone", self._file)
            return None

    def _keep(self, note: Note) -> None:
        self._note = note
        draft = self._file.with_suffix(".unfinished")
        with draft.open("w", encoding="utf-8") as handle:
            handle.write(note.model_dump_json())
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(self._file)

    def _forget(self) -> None:
        self._note = None
        self._file.unlink(missing_ok=True)
