"""Requests that schemathesis makes from the OpenAPI document: no 5xx, and every error is a problem document."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from schemathesis import GenerationMode
from tests.integration.controller.conftest import Fleet

from edgefleet_controller.problems import MEDIA_TYPE, Problem

EXAMPLES = 2
"""For each operation; the seed is fixed, so that every run makes the same requests."""

WAITING = {"wait", "wait_s"}
"""Parameters that would hold the answer open."""


def operations(fleet: Fleet) -> Any:
    schema = schemathesis.openapi.from_dict(fleet.app.openapi())
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    return schema


@pytest.mark.slow
def test_no_request_is_answered_with_5xx_and_every_error_is_a_problem(fleet: Fleet) -> None:
    device = fleet.add_device()
    failures: list[str] = []
    n_requests = 0
    for result in operations(fleet).get_all_operations():
        operation = result.ok()
        headers = device.headers if operation.path.startswith("/agent/") else dict(fleet.operator.headers)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            def check(case: Any, headers: dict[str, str] = headers) -> None:
                nonlocal n_requests
                n_requests += 1
                for part in (case.query, case.body):
                    if isinstance(part, dict):
                        for name in WAITING & set(part):
                            part[name] = 0
                kept = {"Authorization": headers.get("Authorization") or headers.get("authorization", "")}
                answer = case.call(base_url=fleet.url, headers=kept, timeout=30)
                failures.extend(f"{case.method} {case.path}: {reason}" for reason in wrong(answer))

            try:
                strategy = operation.as_strategy(generation_mode=mode)
            except schemathesis.errors.SchemathesisError:
                continue
            run(strategy, check)
    assert failures == []
    assert n_requests > 100


def run(strategy: Any, check: Any) -> None:
    @seed(20261121)
    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def test(case: Any) -> None:
        check(case)

    test()


def wrong(answer: Any) -> list[str]:
    if answer.status_code < 400:
        return []
    found = []
    if answer.status_code >= 500:
        found.append(f"{answer.status_code} {answer.text[:500]}")
    media_type = answer.headers.get("content-type", [""])
    if MEDIA_TYPE not in str(media_type):
        found.append(f"{answer.status_code} is {media_type}: {answer.text[:200]}")
    elif not set(Problem.model_fields) <= set(answer.json()):
        found.append(f"{answer.status_code} is no whole problem: {answer.text[:200]}")
    return found
