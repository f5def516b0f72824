"""Simulated boards against the real controller, over real HTTP: enrol, claim, report, and what the figures may be used for."""

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sqlalchemy.exc import IntegrityError

from edgefleet_agent.client import RetryPolicy
from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.simulate.architectures import mobilenet_v1
from edgefleet_agent.simulate.fleet import FleetPlan, describe_board, make_members, serve_fleet
from edgefleet_agent.simulate.operators import Precision
from edgefleet_agent.wire.messages import RuntimeFacts
from edgefleet_controller.cli.result_table import print_results
from edgefleet_controller.client import Client
from edgefleet_controller.db.tables import Result, Run

Fleet = Any
JsonObject = dict[str, Any]


def manifest(width: float = 0.25, precision: str = "fp32") -> JsonObject:
    table = mobilenet_v1(width, 128, Precision(precision))
    names = ("kind", "macs", "weight_bytes", "activation_elements")
    rows = [{name: getattr(one, name) for name in names} for one in table.operators]
    return {"precision": precision, "operators": rows}


def sign_model() -> bytes:
    """Two features in, their difference to zero as two scores out: class 1 where the first is positive."""
    weights = numpy_helper.from_array(np.array([[-1.0, 1.0], [0.0, 0.0]], np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "sign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    payload: bytes = model.SerializeToString()
    return payload


def evaluation_set(folder: Path) -> bytes:
    """100 samples, 90 of them labelled as the model sees them."""
    x = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    y[:10] = 1 - y[:10]
    np.savez(folder / "evaluation.npz", x=x, y=y)
    return (folder / "evaluation.npz").read_bytes()


class Simulation:
    """Simulated boards of one controller."""

    def __init__(self, fleet: Fleet, folder: Path, **plan: Any) -> None:
        self.fleet, self.folder, self.options = fleet, folder, plan

    def plan(self, board: str = "raspberry-pi-4", count: int = 1, **changes: Any) -> FleetPlan:
        tokens = [self.fleet.post("/v1/join-tokens", {})["join_token"] for _ in range(count)]
        options = {"computes_accuracy": False, "retry": RetryPolicy(0.0, 0.0), **self.options, **changes}
        return FleetPlan(board, count, self.folder, controller=self.fleet.url, join_tokens=tokens, **options)

    def enrol(self, plan: FleetPlan) -> list[str]:
        """Enrol the boards; returns their identifiers."""
        members = make_members(plan)
        serve_fleet(plan, members, max_runs=0)
        assert [member.error for member in members] == [None] * plan.count
        devices = {item["name"]: item["id"] for item in self.fleet.get("/v1/devices")["items"]}
        return [devices[plan.name_of(number)] for number in range(1, plan.count + 1)]

    def work(self, plan: FleetPlan) -> None:
        """Each board takes and reports one run."""
        members = make_members(plan)
        serve_fleet(plan, members, max_runs=1)
        assert [member.error for member in members] == [None] * plan.count


@pytest.fixture
def simulation(fleet: Fleet, tmp_path: Path) -> Simulation:
    return Simulation(fleet, tmp_path / "boards")


def enqueue(fleet: Fleet, job: JsonObject, device_id: str, **order: Any) -> str:
    """A run of the job's first variant with fields added to its order."""
    run_id, _ = fleet.enqueue(job, SimpleNamespace(device_id=device_id), content=order.pop("content", None))
    with fleet.services.database.writing() as session:
        run = session.get_one(Run, run_id)
        run.order = {**run.order, "manifest": manifest(), **order}
    return str(run_id)


def test_free_token_gives_a_device_of_kind_simulated(simulation: Simulation) -> None:
    simulation.enrol(simulation.plan("jetson-nano"))
    device = simulation.fleet.get("/v1/devices/sim-jetson-nano-1")
    assert (device["kind"], device["board"], device["state"]) == ("simulated", "jetson-nano", "active")
    assert device["facts"]["system"].startswith("simulated: ")


def test_token_of_a_physical_device_is_refused_and_not_used_up(simulation: Simulation) -> None:
    created = simulation.fleet.post("/v1/devices", {"name": "pi", "board": "raspberry-pi-4"})
    body = {"join_token": created["join_token"], "facts": describe_board(simulation.plan(), 1).model_dump(mode="json")}
    refused = simulation.fleet.anonymous.post("/agent/v1/enrol", json={**body, "device_kind": "simulated"})
    accepted = simulation.fleet.anonymous.post("/agent/v1/enrol", json={**body, "device_kind": "physical"})
    assert (refused.status_code, refused.json()["code"]) == (422, "device_kind_mismatch")
    assert accepted.status_code == 200


def test_three_boards_at_once_report_simulated_figures(simulation: Simulation) -> None:
    fleet = simulation.fleet
    plan = simulation.plan(count=3)
    ids = simulation.enrol(plan)
    job = fleet.add_job()
    runs = [enqueue(fleet, job, device_id) for device_id in ids]
    simulation.work(plan)
    assert {fleet.run(run)["state"] for run in runs} == {"completed"}
    rows = fleet.get("/v1/results", job=job["id"])["items"]
    assert [row["provenance"] for row in rows] == ["simulated"] * 3
    assert [row["energy"]["scope"] for row in rows] == ["board_5v_input"] * 3
    # MLPerf v1.1, MobileNet v1 0.25 128 fp32 on a Raspberry Pi 4: 4.71 ms; three copies differ by their scatter only
    medians = [row["latency_ms"]["p50"] for row in rows]
    assert medians == pytest.approx([4.71] * 3, rel=0.15)
    assert len(set(medians)) == 3


def test_accuracy_is_computed_from_the_artifact_on_this_host(simulation: Simulation, tmp_path: Path) -> None:
    fleet = simulation.fleet
    host = RuntimeFacts(name="onnxruntime", version="1", interpreter=sys.executable, python_version="3")
    plan = simulation.plan(computes_accuracy=True, interpreters=[host])
    (device_id,) = simulation.enrol(plan)
    job = fleet.add_job()
    data = fleet.upload(evaluation_set(tmp_path))
    run = enqueue(fleet, job, device_id, content=sign_model(), evaluation=fleet.blob_ref(data))
    simulation.work(plan)
    assert fleet.run(run)["state"] == "completed"
    (row,) = fleet.get("/v1/results", job=job["id"])["items"]
    assert row["accuracy_device"] == 0.9
    with fleet.services.database.reading() as session:
        report = session.query(Result).one().report
    assert "this host" in report["environment"]["settings"]["accuracy_source"]
    assert report["environment"]["host"]["parameters_sha256"]
    assert report["memory"]["reason"] == "not_measured"


def test_fronts_leave_simulated_figures_out_unless_asked_and_never_mix(simulation: Simulation, tmp_path: Path) -> None:
    fleet = simulation.fleet
    plan = simulation.plan()
    (device_id,) = simulation.enrol(plan)
    job = fleet.add_job()
    enqueue(fleet, job, device_id)
    simulation.work(plan)
    axes = {"job": job["id"], "x": "latency_p50_ms", "y": "size_bytes"}
    assert fleet.get("/v1/front", **axes)["points"] == []
    asked = fleet.get("/v1/front", **axes, provenance="simulated")
    assert (asked["provenance"], len(asked["points"])) == ("simulated", 1)
    mixed = fleet.operator.get("/v1/front", params={**axes, "provenance": ["measured", "simulated"]})
    assert (mixed.status_code, mixed.json()["code"]) == (422, "provenance_mixed")
    page = fleet.operator.get(f"/jobs/{job['id']}")
    assert "simulated" in page.text


def test_command_line_marks_simulated_figures(simulation: Simulation, capsys: pytest.CaptureFixture[str]) -> None:
    fleet = simulation.fleet
    plan = simulation.plan()
    (device_id,) = simulation.enrol(plan)
    job = fleet.add_job()
    enqueue(fleet, job, device_id)
    simulation.work(plan)
    with Client(fleet.url, fleet.services.operator_token) as client:
        print_results(client.results(job["id"]))
        assert "sim-raspberry-pi-4-1 (simulated)" in capsys.readouterr().out
        assert client.front(job["id"], y="size_bytes").points == ()
        asked = client.front(job["id"], y="size_bytes", provenance="simulated")
        assert [point.device for point in asked.points] == ["sim-raspberry-pi-4-1"]


def test_artifact_the_board_cannot_run_is_reported_with_its_reason(simulation: Simulation) -> None:
    """The Edge TPU computes integers only; the failed report is simulated too, or the controller would refuse it."""
    fleet = simulation.fleet
    plan = simulation.plan("coral-usb")
    (device_id,) = simulation.enrol(plan)
    job = fleet.add_job()
    run = enqueue(fleet, job, device_id)
    simulation.work(plan)
    assert fleet.run(run)["state"] == "failed"
    assert fleet.run(run)["error"]["code"] == "not_supported"


def test_database_takes_no_invented_provenance(simulation: Simulation) -> None:
    fleet = simulation.fleet
    plan = simulation.plan()
    (device_id,) = simulation.enrol(plan)
    enqueue(fleet, fleet.add_job(), device_id)
    simulation.work(plan)
    with fleet.services.database.reading() as session:
        assert session.query(Result).one().provenance == "simulated"
    with pytest.raises(IntegrityError), fleet.services.database.writing() as session:
        session.query(Result).one().provenance = "estimated"


def test_board_without_a_token_of_its_own_is_told_how_to_get_one(simulation: Simulation) -> None:

    plan = FleetPlan("raspberry-pi-4", 2, simulation.folder, controller=simulation.fleet.url, join_tokens=["one"])
    with pytest.raises(SettingsInvalid, match="token create --count 2"):
        make_members(plan)


def test_one_refused_board_does_not_stop_the_others(simulation: Simulation) -> None:
    good = simulation.plan().join_tokens[0]
    plan = FleetPlan(
        "raspberry-pi-4",
        2,
        simulation.folder,
        controller=simulation.fleet.url,
        join_tokens=["ejt_wrong", good],
        retry=RetryPolicy(0.0, 0.0),
    )
    members = make_members(plan)
    serve_fleet(plan, members, max_runs=0)
    assert [getattr(member.error, "code", None) for member in members] == ["credential_refused", None]


def test_process_reads_tokens_from_its_input_and_ends_when_told(fleet: Fleet, tmp_path: Path) -> None:
    tokens = "\n".join(fleet.post("/v1/join-tokens", {})["join_token"] for _ in range(2))
    command = [
        sys.executable,
        "-c",
        "from edgefleet_agent.cli import main; raise SystemExit(main())",
        "simulate",
        "--board",
        "coral-usb",
        "--count",
        "2",
    ]
    command += ["--controller", fleet.url, "--join-token", "-", "--state-dir", str(tmp_path / "state")]
    command += ["--without-accuracy", "--name", "tpu"]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as agent:  # type: ignore[call-overload]
        try:
            agent.stdin.write(tokens)
            agent.stdin.close()
            enrolled = [next(line for line in agent.stderr if "enrolled as" in line) for _ in range(2)]
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(60) == 0
        finally:
            agent.kill()
    assert len(enrolled) == 2
    kinds = {item["name"]: item["kind"] for item in fleet.get("/v1/devices")["items"]}
    assert kinds == {"tpu-1": "simulated", "tpu-2": "simulated"}
