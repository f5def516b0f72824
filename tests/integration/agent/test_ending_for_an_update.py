"""The agent's loop ends when another version was installed, and goes on when it was not."""

from typing import Any

import httpx
import pytest

OFFERED = {"Edgefleet-Update": "1"}


class Taker:
    """Notes what the loop asks of it; takes the offer at the given try."""

    def __init__(self, taken_at: int) -> None:
        self.n_check_ins, self.n_tries, self._taken_at = 0, 0, taken_at

    def checked_in(self, _client: Any) -> None:
        self.n_check_ins += 1

    def take(self, _client: Any, device_id: str, _credentials: Any) -> bool:
        assert device_id == "dev-1"
        self.n_tries += 1
        return self.n_tries == self._taken_at


@pytest.mark.parametrize("taken_at", [1, 2])
def test_the_agent_ends_after_its_run_once_a_version_is_installed(rig: Any, taken_at: int) -> None:
    order = rig.order()
    taker = Taker(taken_at)
    with_order = httpx.Response(200, json={"order": order.model_dump(mode="json")}, headers=OFFERED)
    rig.controller.orders.clear()
    rig.controller.fail("claim", with_order, httpx.Response(204, headers=OFFERED))
    assert rig.agent().serve(updating=taker) is True
    assert list(rig.controller.reports) == [("run-1", 1)], "the run is finished first"
    assert (taker.n_check_ins, taker.n_tries) == (taken_at, taken_at)
    assert rig.controller.calls("claim")[-1]["draining"] is True


def test_an_agent_that_is_offered_nothing_asks_for_nothing(rig: Any) -> None:
    rig.order()
    taker = Taker(1)
    assert rig.agent().serve(max_runs=1, updating=taker) is False
    assert (taker.n_check_ins, taker.n_tries) == (1, 0)
