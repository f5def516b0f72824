"""Analyses before compression: asked for, carried out in a child process, looked at, cancelled, taken up again."""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edgefleet_compression.candidate import save_candidate
from edgefleet_compression.testing import tiny_candidate, tiny_data
from edgefleet_controller.analyses import analyst as analyst_module
from edgefleet_controller.analyses import service
from edgefleet_controller.analyses.analyst import Analyst
from edgefleet_controller.analyses.schemas import AnalysisCreate
from edgefleet_controller.cli.app import app
from edgefleet_controller.db.tables import Model
from edgefleet_controller.engine.child_process import ChildLimits, StepFailed
from edgefleet_controller.workflows.compute import HostCompute

JsonObject = dict[str, Any]
SHAPE_ERROR = StepFailed("data_shape_mismatch", "The model takes samples of shape [1, 8, 8].")


class ScriptedCompute(HostCompute):
    """Answers with what it is given, raises what is an exception, and waits to be stopped where it is None."""

    def __init__(self, work_dir: Path, *answers: JsonObject | Exception | None) -> None:
        super().__init__(work_dir, limits=ChildLimits())
        self._answers = list(answers)
        self.requests: list[JsonObject] = []
        self.began = threading.Event()

    async def run(
        self, module: str, request: Mapping[str, Any], *, report: Callable[[str, JsonObject], None]
    ) -> JsonObject:
        self.requests.append(dict(request))
        answer = self._answers.pop(0)
        if answer is None:
            await asyncio.to_thread(report, "layer one", {"fraction": 0.5})
            self.began.set()
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer


@pytest.fixture
def idle_fleet(start_fleet: Any) -> Any:
    """A controller that carries out no analyses by itself: the test does."""
    return start_fleet(run_analyses=False)


def ask(fleet: Any, **body: Any) -> Any:
    return fleet.operator.post("/v1/models/net/analysis", json=body)


def carry_out(fleet: Any, compute: HostCompute) -> bool:
    return asyncio.run(Analyst(fleet.services, compute).carry_out_next())


def test_the_same_content_is_looked_at_once(idle_fleet: Any, tmp_path: Path) -> None:
    fleet = idle_fleet
    fleet.add_model()
    first = ask(fleet, data={"kind": "packaged", "name": "digits"})
    again = ask(fleet, data={"kind": "packaged", "name": "digits"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["Location"] == f"/v1/analyses/{first.json()['id']}"
    assert fleet.get(first.headers["Location"])["state"] == "queued"
    compute = ScriptedCompute(tmp_path, {"macs": 7})
    assert carry_out(fleet, compute)
    assert not carry_out(fleet, compute)
    assert compute.requests[0]["data"] == {"kind": "packaged", "name": "digits"} | {"side": None}
    done = ask(fleet, data={"kind": "packaged", "name": "digits"})
    assert (done.status_code, done.json()["state"], done.json()["result"]) == (200, "completed", {"macs": 7})
    assert fleet.get("/v1/models/net/analysis") == done.json()
    assert ask(fleet).json()["id"] != done.json()["id"]
    assert fleet.get("/v1/models/net/analysis")["state"] == "queued"


def test_an_error_of_the_child_is_kept_with_its_code_and_may_be_asked_for_again(
    idle_fleet: Any, tmp_path: Path
) -> None:
    idle_fleet.add_model()
    assert "Not analysed yet" in idle_fleet.operator.get("/models/net").text
    asked = ask(idle_fleet).json()
    assert carry_out(idle_fleet, ScriptedCompute(tmp_path, SHAPE_ERROR))
    failed = idle_fleet.get(f"/v1/analyses/{asked['id']}", wait=5)
    assert (failed["state"], failed["error"]["code"], failed["result"]) == ("failed", "data_shape_mismatch", None)
    assert "data_shape_mismatch" in idle_fleet.operator.get("/models/net").text
    assert ask(idle_fleet).status_code == 202
    assert carry_out(idle_fleet, ScriptedCompute(tmp_path, {}))
    assert idle_fleet.get(f"/v1/analyses/{asked['id']}")["error"] is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"data": {"kind": "packaged", "name": "cats"}}, 422, "unknown_data_set"),
        ({"data": {"kind": "npz", "sha256": "0" * 64}}, 422, "unknown_data_set"),
        ({"recipes": ["smaller"]}, 422, "unknown_recipe"),
        ({"recipes": [{"name": "x", "passes": [{"kind": "cast"}, {"kind": "cast"}]}]}, 422, "cast_twice"),
        ({"n_samples": 0}, 422, "invalid_request"),
        ({"samples": 1}, 422, "invalid_request"),
    ],
)
def test_a_request_that_cannot_work_is_refused(idle_fleet: Any, body: JsonObject, status: int, code: str) -> None:
    idle_fleet.add_model()
    answer = ask(idle_fleet, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert idle_fleet.operator.get("/v1/models/net/analysis").json()["code"] == "not_found"


def test_what_is_not_there_is_not_found(idle_fleet: Any) -> None:
    assert ask(idle_fleet).status_code == 404
    assert idle_fleet.operator.get("/v1/models/net/analysis").status_code == 404
    assert idle_fleet.operator.get("/v1/analyses/ana_x").status_code == 404
    assert idle_fleet.operator.post("/v1/analyses/ana_x/cancel").status_code == 404


def test_a_cancelled_analysis_stops_its_child_and_stays_cancelled(
    idle_fleet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyst_module, "SIGN_INTERVAL_S", 0.01)
    idle_fleet.add_model()
    asked, compute = ask(idle_fleet).json(), ScriptedCompute(tmp_path, None)
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(carry_out, idle_fleet, compute)
        assert compute.began.wait(60)
        running = idle_fleet.get(f"/v1/analyses/{asked['id']}")
        assert (running["state"], running["progress"], running["message"]) == ("running", 0.5, "layer one")
        idle_fleet.post(f"/v1/analyses/{asked['id']}/cancel")
        assert working.result(60)
    assert idle_fleet.get(f"/v1/analyses/{asked['id']}")["state"] == "cancelled"
    assert list(tmp_path.glob("analyze-*")) == []
    idle_fleet.post(f"/v1/analyses/{asked['id']}/cancel")
    assert ask(idle_fleet).json()["state"] == "queued"
    assert carry_out(idle_fleet, ScriptedCompute(tmp_path, {}))
    answer = idle_fleet.operator.post(f"/v1/analyses/{asked['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "state_forbids")


def test_a_stopped_process_puts_its_analysis_back(idle_fleet: Any, tmp_path: Path) -> None:
    idle_fleet.add_model()
    asked, compute = ask(idle_fleet).json(), ScriptedCompute(tmp_path, None)

    async def stop_in_the_middle() -> None:
        working = asyncio.create_task(Analyst(idle_fleet.services, compute).carry_out_next())
        await asyncio.to_thread(compute.began.wait, 60)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(stop_in_the_middle())
    assert idle_fleet.get(f"/v1/analyses/{asked['id']}")["state"] == "queued"
    assert carry_out(idle_fleet, ScriptedCompute(tmp_path, {}))


def test_what_a_dead_process_ran_is_begun_again_after_a_minute(
    start_fleet: Any, store_url: str, tmp_path: Path
) -> None:
    fleet = start_fleet(database_url=store_url, run_analyses=False)
    fleet.add_model()
    with fleet.services.database.writing() as session:
        asked = service.request(session, "net", AnalysisCreate())
    with fleet.services.database.writing() as session:
        claimed = service.claim(session)
        assert claimed is not None
        assert service.claim(session) is None
    fleet.clock.advance(59)
    assert not carry_out(fleet, ScriptedCompute(tmp_path))
    fleet.clock.advance(2)
    assert carry_out(fleet, ScriptedCompute(tmp_path, {"macs": 1}))
    assert fleet.get(f"/v1/analyses/{asked.id}")["result"] == {"macs": 1}


def test_a_model_is_analysed_from_the_command_line_in_a_real_child(start_fleet: Any, tmp_path: Path) -> None:
    fleet = start_fleet()
    path = save_candidate(tiny_candidate(), tmp_path / "tiny.safetensors")
    sha256 = fleet.upload(path.read_bytes())
    with fleet.services.database.writing() as session:  # the inspector of these tests knows no real files
        now = fleet.clock.now()
        session.add(Model(id="mod_1", name="tiny", format="safetensors", blob_sha256=sha256, facts={}, created_at=now))
    data = tiny_data(n_samples=60)
    assert data.train.y is not None
    np.savez(tmp_path / "tiny.npz", x=data.train.x, y=data.train.y)
    environment = {"EDGEFLEET_URL": fleet.url, "EDGEFLEET_TOKEN": fleet.services.operator_token}
    command = ["model", "analyze", "tiny", "--data", str(tmp_path / "tiny.npz"), "--recipe", "int8", "--samples", "8"]
    found = CliRunner().invoke(app, command, env=environment)
    assert found.exit_code == 0, found.output
    # the first convolution: 1 -> 16, 3 x 3 on 8 x 8
    assert "9,216" in found.output
    assert "-50 %" in found.output
    assert "int8" in found.output
    again = CliRunner().invoke(app, [*command, "--json"], env=environment)
    layers = json.loads(again.output)["result"]["layers"]
    assert layers[0]["macs_by_counter"] == 9216
    page = fleet.operator.get("/models/tiny").text
    assert "9,216" in page
    assert "blocks.0.conv1" in page
    unknown = CliRunner().invoke(app, ["model", "analyze", "nothing"], env=environment)
    assert (unknown.exit_code, "not_found" in unknown.output) == (1, True)
