import random

import httpx
import pytest

from edgefleet_agent.client import ControllerClient, RetryPolicy
from edgefleet_agent.errors import RequestRefused, Unreachable
from edgefleet_agent.wire.messages import ClaimRequest

CLAIM = ClaimRequest(facts_sha256="0" * 64, wait_s=0)


def client_answering(response: httpx.Response) -> ControllerClient:
    transport = httpx.MockTransport(lambda _request: response)
    return ControllerClient(httpx.Client(base_url="http://controller", transport=transport), "edt_x")


def test_back_off_is_jittered_over_the_whole_range_and_capped() -> None:
    policy, rng = RetryPolicy(base_s=1.0, cap_s=8.0), random.Random(0)
    for n_failures, ceiling in ((1, 1.0), (2, 2.0), (4, 8.0), (60, 8.0)):
        delays = [policy.delay_s(n_failures, Unreachable("down"), rng) for _ in range(300)]
        assert 0.0 <= min(delays) < 0.1 * ceiling
        assert 0.9 * ceiling < max(delays) <= ceiling


def test_controller_that_asks_for_a_longer_wait_gets_it() -> None:
    policy = RetryPolicy(base_s=0.1, cap_s=0.1)
    assert policy.delay_s(1, Unreachable("busy", retry_after_s=7.0), random.Random(0)) == 7.0


@pytest.mark.parametrize(
    ("header", "seconds"), [("3", 3.0), ("Wed, 21 Oct 2015 07:28:00 GMT", None), ("-1", None)], ids=str
)
def test_retry_after_counts_in_seconds_only(header: str, seconds: "float | None") -> None:
    """A date needs a wall clock that is right; a board's may say 1970."""
    with pytest.raises(Unreachable) as caught:
        client_answering(httpx.Response(503, headers={"Retry-After": header})).claim(CLAIM)
    assert caught.value.retry_after_s == seconds


def test_problem_document_decides_whether_to_retry() -> None:
    again = httpx.Response(422, json={"code": "samples_missing", "retry": True})
    never = httpx.Response(422, json={"code": "report_refused", "retry": False, "detail": "no"})
    with pytest.raises(Unreachable, match="samples_missing"):
        client_answering(again).claim(CLAIM)
    with pytest.raises(RequestRefused) as caught:
        client_answering(never).claim(CLAIM)
    assert (caught.value.code, str(caught.value)) == ("report_refused", "no")


def test_address_without_a_scheme_is_named() -> None:
    client = ControllerClient(httpx.Client(base_url="controller:8000"))
    with pytest.raises(RequestRefused, match="http://host:port"):
        client.claim(CLAIM)


def test_a_refusal_names_the_fields_that_the_controller_does_not_know() -> None:
    errors = [{"field": "facts.gpu", "message": "Extra inputs are not permitted"}]
    problem = {"code": "invalid_request", "detail": "Correct the fields.", "errors": errors}
    with pytest.raises(RequestRefused, match=r"facts\.gpu: Extra inputs are not permitted"):
        client_answering(httpx.Response(422, json=problem)).claim(CLAIM)
