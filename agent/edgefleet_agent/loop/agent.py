"""The agent as the controller sees it."""

import logging
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, TypeVar

from edgefleet_agent.client import ControllerClient
from edgefleet_agent.errors import (
    CredentialRefused,
    DrainRequested,
    MeasurementFailed,
    RequestRefused,
    SettingsInvalid,
    StaleAttempt,
    Unreachable,
)
from edgefleet_agent.inventory import facts_sha256, read_serial
from edgefleet_agent.loop.credentials import Credentials
from edgefleet_agent.loop.heart import Heart
from edgefleet_agent.loop.identity import Identity, load_identity, save_identity
from edgefleet_agent.loop.one_run import Workshop, carry_out, internal_error
from edgefleet_agent.loop.trust import Asked
from edgefleet_agent.loop.updating import Updating
from edgefleet_agent.loop.uploading import upload_samples
from edgefleet_agent.measure.artifact import Measurement
from edgefleet_agent.settings import AgentSettings
from edgefleet_agent.spool import Spool, SpooledRun
from edgefleet_agent.wire.log_lines import log_context
from edgefleet_agent.wire.messages import ClaimRequest, ClaimResponse, EnrolRequest, ReportRequest, RunOrder

log = logging.getLogger(__name__)

PERHAPS_NEVER = frozenset({400, 403, 404, 413, 422})
MAX_ANSWERED = 6
"""A client error that the controller calls worth a retry (a damaged upload) is believed this often."""

KEEP_ATTEMPTS = 6
"""So often is a finished run written to a disk that is full, with growing pauses."""

PAUSE_S = 1.0
"""Between two claims when the controller answers without waiting."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Stores:
    """Where the agent keeps what must survive it."""

    state_directory: Path
    spool: Spool


class Agent:
    """Serves one controller until it is told to stop."""

    def __init__(
        self,
        client: ControllerClient,
        settings: AgentSettings,
        stores: Stores,
        workshop: Workshop,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._anonymous, self._client = client, client
        self._settings, self._stores, self._workshop, self._clock = settings, stores, workshop, clock
        self._identity: Optional[Identity] = None
        self._facts_due = True
        self._may_enrol_again = False
        self._credentials = Credentials(stores.state_directory)
        self._nonce = ""
        self._boot, self._n_claims = secrets.token_hex(16), 0

    def serve(self, max_runs: Optional[int] = None, updating: Optional[Updating] = None) -> bool:
        """Take runs until a stop is requested or ``max_runs`` are done; True: until another version was installed.

        Raises CredentialRefused, UpgradeNeeded, RequestRefused or SettingsInvalid when going on makes no sense.
        """
        n_runs, is_updated = 0, False
        try:
            self._become_known()
            while not self._workshop.stop.is_set and not is_updated and (max_runs is None or n_runs < max_runs):
                try:
                    self.deliver_spool()
                    order = self._claim_order()
                    if updating is not None:
                        updating.checked_in(self._client)
                except CredentialRefused:
                    if not self._may_enrol_again:
                        raise
                    log.warning("the stored credential is refused; enrolling again with the join token")
                    self._adopt(self._enrol())
                    continue
                if order is not None:
                    self.handle(order)
                    n_runs += 1
                if updating is not None and self._client.is_update_offered:
                    device_id = self._known().enrolment.device_id
                    is_updated = updating.take(self._client, device_id, self._credentials)
        except DrainRequested:
            log.info("told to stop")
        self._say_goodbye()
        return is_updated

    def enrol(self) -> str:
        """Become known to the controller without taking runs; returns the device's name. A second time changes nothing.

        Raises what ``serve`` raises where the controller refuses, and DrainRequested when stopped while it is unreachable.
        """
        self._become_known()
        return self._known().enrolment.name

    def handle(self, order: RunOrder) -> None:
        """Carry out one order and deliver its report, or keep it for later."""
        with log_context(run_id=order.run_id, device_id=self._known().enrolment.device_id):
            self._handle(order)

    def _handle(self, order: RunOrder) -> None:
        log.info("run %s, attempt %d: %s with %s", order.run_id, order.attempt, order.artifact_name, order.runtime)
        heart = Heart(self._client, order, self._known().enrolment.heartbeat_s, self._clock)
        try:
            measurement = carry_out(order, self._client, heart, self._workshop)
        except StaleAttempt as err:
            log.warning("run %s belongs to somebody else now and was dropped: %s", order.run_id, err)
            return
        except (Unreachable, RequestRefused) as err:
            log.warning("run %s was given up and is left to its lease: %s", order.run_id, err)
            return
        self._keep_and_deliver(order, measurement, heart)

    def _keep_and_deliver(self, order: RunOrder, measurement: Measurement, heart: Optional[Heart] = None) -> None:
        """Put a finished run on disk and deliver it. A disk that stays full costs its figures, not the run or the agent:
        then a report that says so is sent without being kept.
        """
        request = ReportRequest(run_id=order.run_id, attempt=order.attempt, report=measurement.report)
        for n_failures in range(1, KEEP_ATTEMPTS + 1):
            try:
                kept = self._stores.spool.add(request, measurement.blobs)
            except OSError as err:
                trouble = err
            else:
                self._deliver(kept)
                return
            log.error(
                "run %s can't be kept on disk, try %d of %d: %s", order.run_id, n_failures, KEEP_ATTEMPTS, trouble
            )
            if n_failures < KEEP_ATTEMPTS and not self._waits_for_disk(n_failures, trouble, heart):
                return
        self._report_unkept(order, trouble)

    def _waits_for_disk(self, n_failures: int, trouble: OSError, heart: Optional[Heart]) -> bool:
        """Wait a while with the lease held; False: the run belongs to somebody else now."""
        delay_s = self._workshop.retry.delay_s(n_failures, Unreachable(str(trouble)), self._workshop.rng)
        self._workshop.stop.wait(delay_s)
        try:
            if heart is not None:
                heart.beat("keep")
        except (StaleAttempt, RequestRefused) as err:
            log.warning("a run whose figures waited for space belongs to somebody else now: %s", err)
            return False
        except MeasurementFailed as err:
            log.info("the run was cancelled while its figures waited for space: %s", err)
        return True

    def _report_unkept(self, order: RunOrder, trouble: OSError) -> None:
        report = self._workshop.failed(order, internal_error(trouble)).report
        request = ReportRequest(run_id=order.run_id, attempt=order.attempt, report=report)
        try:
            self._persist(lambda: self._client.report(request))
        except (StaleAttempt, RequestRefused) as err:
            log.warning("run %s: the controller does not take the report of a full disk: %s", order.run_id, err)

    def deliver_spool(self) -> None:
        """Send what earlier rounds, or an agent that was killed, left behind."""
        for run in self._stores.spool.pending():
            self._deliver(run)

    def _deliver(self, run: SpooledRun) -> None:
        """Upload raw samples and report; an unreachable controller is tried again until it answers or we must stop."""
        name = run.request.run_id
        try:
            self._persist(lambda: self._send(run))
        except StaleAttempt as err:
            log.warning("run %s was not accepted, it belongs to somebody else now: %s", name, err)
            self._stores.spool.remove(run)
        except RequestRefused as err:
            log.warning(
                "the controller refuses the report of run %s, which is kept aside: %s (%s)", name, err, err.code
            )
            self._stores.spool.refuse(run)
        else:
            self._stores.spool.remove(run)

    def _send(self, run: SpooledRun) -> None:
        request = run.request
        try:
            for sha256, path in run.blobs.items():
                upload_samples(self._client, request, sha256, path)
        except (RequestRefused, StaleAttempt) as err:
            # the run may be over because this very report arrived before a crash: the answer to the report decides
            log.info("run %s: raw samples were refused: %s", request.run_id, err)
        response = self._client.report(request)
        log.info("run %s reported%s", request.run_id, " (again)" if response.duplicate else "")

    def _persist(self, action: Callable[[], Answer]) -> Answer:
        """Repeat while the controller can't be reached; raises DrainRequested when told to stop meanwhile.

        A request that it answers with "not so, try again" time after time is given up with RequestRefused.
        """
        n_failures = 0
        while True:
            try:
                return action()
            except Unreachable as err:
                n_failures += 1
                if err.status in PERHAPS_NEVER and n_failures >= MAX_ANSWERED:
                    raise RequestRefused("refused_repeatedly", str(err), err.status) from err
                delay_s = self._workshop.retry.delay_s(n_failures, err, self._workshop.rng)
                log.warning("controller unreachable (%s); next try in %.1f s", err, delay_s)
            self._workshop.stop.wait(delay_s)

    def _claim_order(self) -> Optional[RunOrder]:
        asked_s = self._clock()
        self._n_claims += 1  # kept while the same claim is sent again, so that a lost answer is repeated
        with self._workshop.stop.idle():
            response = self._persist(self._claim)
        if response is None:
            if self._clock() - asked_s < PAUSE_S:
                self._workshop.stop.wait(self._workshop.rng.uniform(0.5, 1.5) * PAUSE_S)
            return None
        self._facts_due = response.send_facts
        return self._checked(response)

    def _checked(self, response: ClaimResponse) -> Optional[RunOrder]:
        """The order, unless nobody whom this board trusts signed it: then its run fails with that reason."""
        order = response.order
        if order is None:
            return None
        enrolment = self._known().enrolment
        asked = Asked(enrolment.device_id, self._nonce)
        refusal = self._persist(lambda: self._credentials.refusal(response, asked, self._client))
        if refusal is not None:
            log.error("run %s is refused: %s (%s)", order.run_id, refusal.message, refusal.code.value)
            self._keep_and_deliver(order, self._workshop.failed(order, refusal))
            return None
        if response.rotate_credential:
            renewed = self._credentials.renew(self._known(), self._client)
            if renewed is not None:
                self._use(renewed)
        return order

    def _claim(self) -> Optional[ClaimResponse]:
        facts = self._workshop.inventory.facts
        wait_s = min(50.0, self._known().enrolment.poll_wait_s)
        sent = facts if self._facts_due else None
        self._nonce = self._credentials.new_nonce()
        request = ClaimRequest(
            wait_s=wait_s,
            facts_sha256=facts_sha256(facts),
            facts=sent,
            nonce=self._nonce,
            boot=self._boot,
            claim=self._n_claims,
        )
        response = self._client.claim(request)
        self._facts_due = False
        return response

    def _say_goodbye(self) -> None:
        """Tell the controller that this agent takes no more work; not worth a second try."""
        if self._identity is None:
            return
        request = ClaimRequest(wait_s=0.0, facts_sha256=facts_sha256(self._workshop.inventory.facts), draining=True)
        try:
            self._client.claim(request)
        except (Unreachable, RequestRefused, CredentialRefused, StaleAttempt) as err:
            log.info("could not say goodbye: %s", err)

    def _known(self) -> Identity:
        assert self._identity is not None, "serve enrols first"
        return self._identity

    def _become_known(self) -> None:
        """Take the stored identity, or enrol."""
        stored = load_identity(self._stores.state_directory)
        if stored is None or self._moved(stored):
            stored = self._enrol()
        else:
            # a board that was revoked, or whose controller lost its store, is given a new token for the same address
            self._may_enrol_again = self._settings.join_token is not None and self._settings.controller is not None
        self._adopt(stored)

    def _moved(self, stored: Identity) -> bool:
        """Another controller was named, together with a token for it."""
        return stored.controller != self._settings.controller and self._settings.join_token is not None

    def _adopt(self, identity: Identity) -> None:
        self._facts_due = True
        self._use(identity)

    def _use(self, identity: Identity) -> None:
        self._identity = identity
        self._client = self._anonymous.with_credential(identity.enrolment.credential)

    def _enrol(self) -> Identity:
        self._may_enrol_again = False
        token, controller = self._settings.join_token, self._settings.controller
        if token is None or controller is None:
            raise SettingsInvalid("this board is not enrolled yet; give --controller and a --join-token from it")
        workshop = self._workshop
        request = EnrolRequest(
            join_token=token,
            name=self._settings.name,
            device_kind=workshop.device_kind,
            serial=read_serial(),
            facts=workshop.inventory.facts,
        )
        request = self._credentials.prove(request)
        with workshop.stop.idle():
            response = self._persist(lambda: self._anonymous.enrol(request))
        identity = Identity(controller=controller, enrolment=response)
        self._credentials.enrolled(response)
        save_identity(self._stores.state_directory, identity)
        log.info("enrolled as %s (%s)", response.name, response.device_id)
        return identity


def clear_folder(folder: Path) -> Path:
    """An empty folder; what a killed agent left in it is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
