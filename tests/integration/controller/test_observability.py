"""Metrics, request identifiers, log lines and traces of a running controller."""

import json
import logging
import os
import queue
import re
import subprocess
import sys
from logging.handlers import QueueHandler
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.controller.conftest import Fleet, StartFleet, latency_blob, make_report

from edgefleet_agent.wire.log_lines import JsonFormatter
from edgefleet_controller.observability.requests import request_identifiers

DASHBOARD = Path(__file__).resolve().parents[3] / "docs" / "grafana" / "edgefleet.json"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(fleet: Fleet) -> Samples:
    answer = fleet.anonymous.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def grown(after: Samples, before: Samples, name: str, **labels: str) -> float:
    key = (name, tuple(sorted(labels.items())))
    return after[key] - before.get(key, 0.0)


def test_metrics_follow_a_run_from_the_queue_to_its_end(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    _, artifact = each_fleet.enqueue(job, device)
    before = scrape(each_fleet)
    queued = ("edgefleet_runs", (("state", "queued"), ("target", "onnxruntime")))
    assert before[queued] == 1
    each_fleet.clock.advance(30)
    order = device.order()
    assert device.upload(latency_blob()).status_code in (200, 201)
    each_fleet.clock.advance(12)
    assert device.report(order, make_report(artifact)).status_code == 200
    each_fleet.services.desk.aftermath.write()
    after = scrape(each_fleet)
    assert queued not in after
    assert after["edgefleet_runs", (("state", "leased"), ("target", "none"))] == 0
    assert grown(after, before, "edgefleet_claim_latency_seconds_sum") == 30
    assert grown(after, before, "edgefleet_run_duration_seconds_sum", state="completed") == 12
    claims = {"method": "POST", "route": "/agent/v1/claim", "status": "200"}
    assert grown(after, before, "edgefleet_http_requests_total", **claims) == 1
    assert after["edgefleet_agents_online", ()] == 1
    assert after["edgefleet_blob_bytes", ()] > len(latency_blob())
    assert after["edgefleet_engine_lag_seconds", ()] == 42


def test_metrics_count_leases_that_ran_out(fleet: Fleet) -> None:
    device, job = fleet.add_device(), fleet.add_job()
    fleet.enqueue(job, device)
    device.order()
    before = scrape(fleet)
    fleet.clock.advance(61)
    fleet.sweeper.end_leases()
    assert grown(scrape(fleet), before, "edgefleet_lease_expiries_total", outcome="queued") == 1


def test_no_metric_names_a_device(fleet: Fleet) -> None:
    device = fleet.add_device()
    device.claim()
    text = fleet.anonymous.get("/metrics").text
    assert device.device_id not in text
    assert not re.search(r'device_id="|dev_[0-9A-Z]', text)  # a route's template names its parameter


def test_unknown_paths_are_one_series(fleet: Fleet) -> None:
    for path in ("/etc/passwd", "/v1/devices/../x", "/a" * 50):
        fleet.anonymous.get(path)
    routes = {dict(labels).get("route") for name, labels in scrape(fleet) if name == "edgefleet_http_requests_total"}
    assert "unmatched" in routes
    assert not {route for route in routes if route and "passwd" in route}


def test_metrics_behind_a_proxy_need_a_token(fleet: Fleet) -> None:
    passed_on = {"X-Forwarded-For": "192.0.2.7"}
    assert fleet.anonymous.get("/metrics", headers=passed_on).status_code == 401
    assert fleet.operator.get("/metrics", headers=passed_on).status_code == 200


def test_every_answer_has_a_request_id_and_problems_repeat_it(fleet: Fleet) -> None:
    given = {"X-Request-ID": "my-request-1"}
    answer = fleet.operator.get("/v1/jobs/none", headers=given)
    assert (answer.headers["X-Request-ID"], answer.json()["request_id"]) == ("my-request-1", "my-request-1")
    strange = fleet.anonymous.get("/healthz", headers={"X-Request-ID": 'x" injected="'})
    assert re.fullmatch("req_[0-9A-Z]{26}", strange.headers["X-Request-ID"])


def test_unexpected_error_is_found_in_the_log_by_its_request_id(
    fleet: Fleet, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    lines: list[dict[str, Any]] = []
    formatter = JsonFormatter(request_identifiers)
    caplog.handler.setFormatter(formatter)
    monkeypatch.setattr(logging.Handler, "handle", lambda _, record: lines.append(json.loads(formatter.format(record))))
    monkeypatch.setattr("edgefleet_controller.jobs.endpoints.service.find", fail)
    with fleet.client(fleet.operator.headers) as client:
        answer = client.get("/v1/jobs/job_1")
    assert answer.status_code == 500
    line = next(line for line in lines if line["level"] == "error" and "exception" in line)
    assert line["request_id"] == answer.json()["request_id"] == answer.headers["X-Request-ID"]
    assert (line["job_id"], "a defect" in line["exception"]) == ("job_1", True)


def test_access_log_says_what_was_asked(start_fleet: StartFleet, caplog: pytest.LogCaptureFixture) -> None:
    fleet, lines = start_fleet(log_access=True), queue.Queue[logging.LogRecord]()
    handler, log = QueueHandler(lines), logging.getLogger("edgefleet_controller.access")
    log.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, log.name):
            fleet.operator.get("/v1/jobs/none")
            line = lines.get(timeout=30)  # it is written when the answer is out already
    finally:
        log.removeHandler(handler)
    assert line.getMessage().rsplit(" in ", 1)[0] == "GET /v1/jobs/{job_id} 404"


def test_dashboard_asks_for_metrics_that_exist(fleet: Fleet) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked = {name for query in queries for name in re.findall(r"\bedgefleet_\w+", query)}
    device, job = fleet.add_device(), fleet.add_job()
    _, artifact = fleet.enqueue(job, device)
    order = device.order()
    device.upload(latency_blob())
    device.report(order, make_report(artifact))
    fleet.enqueue(fleet.add_job(("int8",)), device)
    device.order()
    fleet.clock.advance(61)
    fleet.sweeper.end_leases()
    fleet.services.desk.aftermath.write()
    shown = {name for name, _ in scrape(fleet)}
    assert len(asked) >= 8
    assert asked - shown == set()


def test_requests_are_spans_where_opentelemetry_is_installed() -> None:
    """In a process of its own: OpenTelemetry keeps its state for the whole process, and other tests leave some."""
    pytest.importorskip("opentelemetry.sdk.trace", reason="the extra otel is not installed")
    alone = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::test_spans_in_this_process"]
    done = subprocess.run(alone, env=os.environ | {SPANS_ALONE: "1"}, capture_output=True, text=True, timeout=240)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout[-3000:]


SPANS_ALONE = "EDGEFLEET_TEST_SPANS_ALONE"


@pytest.mark.skipif(SPANS_ALONE not in os.environ, reason="started by the test above, in a process of its own")
def test_spans_in_this_process(start_fleet: StartFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="the extra otel is not installed")
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    fleet = start_fleet()
    fleet.operator.get("/v1/jobs/none")
    spans = [
        span
        for span in exporter.get_finished_spans()
        if (span.attributes or {}).get("http.route") == "/v1/jobs/{job_id}"
    ]
    assert [(span.attributes or {})["http.response.status_code"] for span in spans] == [404]
