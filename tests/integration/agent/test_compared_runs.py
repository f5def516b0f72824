"""A/B and A/A as runs of a controller: fetched, carried out with real runners, reported through the spool."""

import sys
from dataclasses import replace
from typing import Any

import pytest
from onnx import TensorProto, helper
from tests.integration.agent.conftest import blob_ref

from edgefleet_agent.loop.agent import Agent
from edgefleet_agent.simulate.measuring import SimulatedDevice, make_board
from edgefleet_agent.wire.comparison import ComparisonPlan
from edgefleet_agent.wire.messages import MeasureSettings, RunOrder, SecondArtifact
from edgefleet_agent.wire.report import BlobRef
from edgefleet_agent.wire.samples import decode_samples

QUICK = ComparisonPlan(n_pairs=12, block_seconds=0.002)
SHORT = MeasureSettings(warmup_seconds=0.0, warmup_iterations=1)


def chain(n: int) -> bytes:
    nodes = [helper.make_node("Relu", ["x" if i == 0 else f"y{i}"], [f"y{i + 1}"]) for i in range(n)]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info(f"y{n}", TensorProto.FLOAT, [1, 64])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return bytes(model.SerializeToString())


@pytest.fixture
def comparing(rig: Any) -> Any:
    """The rig on a board whose runtime is the one of this interpreter."""
    found = rig.facts.runtimes[0].model_copy(update={"interpreter": sys.executable})
    rig.facts = rig.facts.model_copy(update={"runtimes": [found]})
    return rig


def hold(rig: Any, content: bytes) -> BlobRef:
    ref = blob_ref(content)
    rig.controller.blobs[ref.sha256] = content
    return ref


def order_ab(rig: Any, second: bytes, plan: ComparisonPlan = QUICK, runtime: str = "onnxruntime") -> RunOrder:
    b = SecondArtifact(runtime=runtime, artifact=hold(rig, second), artifact_name="b.onnx")
    ordered: RunOrder = rig.order(artifact=hold(rig, chain(1)), kind="ab", second=b, comparison=plan, settings=SHORT)
    return ordered


def with_stand_in(agent: Agent, device: SimulatedDevice) -> Agent:
    agent._workshop = replace(agent._workshop, stand_in=device)
    return agent


class TestAb:
    def test_two_artifacts_are_fetched_compared_and_reported(self, comparing: Any) -> None:
        order = order_ab(comparing, chain(2))
        comparing.agent().serve(max_runs=1)
        report = comparing.controller.reports[("run-1", 1)]
        assert report["error"] is None
        assert report["provenance"] == "measured"
        assert report["artifact"] == order.artifact.model_dump()
        assert order.second is not None
        assert report["second"] == order.second.artifact.model_dump()
        assert report["comparison"]["n_pairs"] == 12
        assert report["environment"]["settings"]["n_pairs"] == 12
        assert report["latency_ms"] is None

    def test_blocks_are_uploaded_in_the_order_they_ran(self, comparing: Any) -> None:
        order_ab(comparing, chain(2))
        comparing.agent().serve(max_runs=1)
        digest = comparing.controller.reports[("run-1", 1)]["samples"]["blocks"]["sha256"]
        header, columns = decode_samples(comparing.controller.uploads[digest])
        assert header["clock"] == "CLOCK_MONOTONIC"
        assert columns["side"] == [0, 1, 1, 0] * 6
        assert columns["start_ns"] == sorted(columns["start_ns"])

    def test_a_second_artifact_that_cannot_be_loaded_is_a_coded_failure(self, comparing: Any) -> None:
        order_ab(comparing, b"nonsense")
        comparing.agent().serve(max_runs=1)
        report = comparing.controller.reports[("run-1", 1)]
        assert (report["error"]["code"], report["comparison"]) == ("artifact_unreadable", None)

    def test_a_runtime_that_the_board_lacks_is_a_coded_failure(self, comparing: Any) -> None:
        order_ab(comparing, chain(2), runtime="litert")
        comparing.agent().serve(max_runs=1)
        assert comparing.controller.reports[("run-1", 1)]["error"]["code"] == "runtime_unavailable"

    def test_a_cancelled_comparison_stops_between_couples(self, comparing: Any) -> None:
        order_ab(comparing, chain(2), ComparisonPlan(n_pairs=100_000, block_seconds=0.002, max_seconds=600))

        def cancel_once_it_measures(request: Any) -> Any:
            if b'"measure"' in request.content:
                comparing.controller.cancels.add("run-1")
            return comparing.controller._heartbeat(request, {"run_id": "run-1"})

        comparing.controller.fail("heartbeat", *[cancel_once_it_measures] * 50)
        comparing.agent().serve(max_runs=1)
        assert comparing.controller.reports[("run-1", 1)]["error"]["code"] == "cancelled"


class TestAa:
    def test_every_comparison_counts(self, comparing: Any) -> None:
        plan = QUICK.model_copy(update={"n_comparisons": 2})
        comparing.order(artifact=hold(comparing, chain(1)), kind="aa", comparison=plan, settings=SHORT)
        comparing.agent().serve(max_runs=1)
        report = comparing.controller.reports[("run-1", 1)]
        rate = report["false_positives"]
        assert (rate["n_comparisons"], len(rate["ratios"])) == (2, 2)
        digest = report["samples"]["blocks"]["sha256"]
        _, columns = decode_samples(comparing.controller.uploads[digest])
        assert columns["comparison"] == [0] * 24 + [1] * 24


def test_a_simulated_device_never_says_that_it_measured_a_comparison(comparing: Any) -> None:
    order_ab(comparing, chain(2))
    device = SimulatedDevice("sim", make_board("raspberry-pi-4", 0, 0))
    with_stand_in(comparing.agent(), device).serve(max_runs=1)
    report = comparing.controller.reports[("run-1", 1)]
    assert (report["error"]["code"], report["provenance"]) == ("not_supported", "simulated")


def test_orders_of_one_kind_have_no_parts_of_another() -> None:
    artifact = BlobRef(sha256="0" * 64, size_bytes=1)
    fields = {"run_id": "r", "attempt": 1, "lease_s": 1, "runtime": "onnxruntime", "artifact_name": "m.onnx"}
    b = SecondArtifact(runtime="onnxruntime", artifact=artifact, artifact_name="b.onnx")
    for wrong in ({"kind": "ab"}, {"second": b}, {"kind": "aa"}, {"comparison": QUICK}):
        with pytest.raises(ValueError, match="belongs to the kind"):
            RunOrder(**fields, artifact=artifact, **wrong)
