import logging
import time
from typing import Callable

from edgefleet_agent.client import ControllerClient
from edgefleet_agent.errors import MeasurementFailed, Unreachable
from edgefleet_agent.wire.messages import HeartbeatRequest, RunOrder
from edgefleet_agent.wire.reasons import ErrorCode

log = logging.getLogger(__name__)


class Heart:
    """Sends the heartbeats of one run: at every change of phase, and within a phase no more often than ``every_s``."""

    def __init__(
        self, client: ControllerClient, order: RunOrder, every_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._order, self._every_s, self._clock = client, order, every_s, clock
        self._phase, self._last_s = "", float("-inf")

    def beat(self, phase: str, silent_for_s: float = 0.0) -> None:
        """Tell the controller the phase, and the length of the silence that begins now.

        Raises MeasurementFailed(cancelled) when the controller wants the run stopped, and StaleAttempt when it belongs
        to somebody else. A controller that can't be reached is no reason to stop: the report is kept until it can.
        """
        now_s = self._clock()
        if phase == self._phase and silent_for_s == 0 and now_s - self._last_s < self._every_s:
            return
        self._phase, self._last_s = phase, now_s
        request = HeartbeatRequest(
            run_id=self._order.run_id, attempt=self._order.attempt, phase=phase, silent_for_s=min(silent_for_s, 7200.0)
        )
        try:
            response = self._client.heartbeat(request)
        except Unreachable as err:
            log.warning("run %s: heartbeat did not get through: %s", self._order.run_id, err)
            return
        if response.cancel:
            raise MeasurementFailed(ErrorCode.CANCELLED, "the run was cancelled in phase {}".format(phase))
