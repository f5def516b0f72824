"""A child process has its own loopback and nothing else of the network."""

import asyncio
import errno
from pathlib import Path

import pytest

from edgefleet_controller.engine import isolation
from edgefleet_controller.engine.child_process import ChildLimits, run_child_step

PROBE = """
import json, resource, socket, sys
sys.stdin.readline()
def reach(address):
    with socket.socket() as s:
        s.settimeout(5)
        try:
            s.connect(address)
            return "connected"
        except OSError as err:
            return err.errno
with socket.create_server(("127.0.0.1", 0)) as own:
    result = {
        "interfaces": [name for _, name in socket.if_nameindex()],
        "outside": reach(("192.0.2.1", 9)),
        "loopback": reach(own.getsockname()),
        "parent": reach(("127.0.0.1", int(sys.argv[1]))) if len(sys.argv) > 1 else None,
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "processes": resource.getrlimit(resource.RLIMIT_NPROC)[0],
    }
print(json.dumps({"event": "done", "result": result}), flush=True)
"""


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "network_probe.py").write_text(PROBE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "network_probe"


def run(module: str, limits: ChildLimits) -> dict[str, object]:
    return asyncio.run(run_child_step(module, {}, on_event=lambda _: None, limits=limits))


@pytest.mark.skipif(not isolation.can_isolate(), reason="this kernel or container allows no network namespace")
def test_a_child_reaches_its_own_loopback_only(probe: str) -> None:
    found = run(probe, ChildLimits(n_open_files=64, n_processes=4096))
    assert found["interfaces"] == ["lo"]
    assert found["loopback"] == "connected"
    assert found["outside"] in (errno.ENETUNREACH, errno.EHOSTUNREACH)
    assert (found["open_files"], found["processes"]) == (64, 4096)


def test_where_it_is_forbidden_the_child_runs_and_the_log_says_so(
    probe: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(_flags: int) -> None:
        raise PermissionError(errno.EPERM, "forbidden")

    monkeypatch.setattr(isolation, "_unshare", forbidden)
    isolation.can_isolate.cache_clear()
    try:
        assert run(probe, ChildLimits())["loopback"] == "connected"
        assert "no network namespace" in caplog.text
    finally:
        isolation.can_isolate.cache_clear()
