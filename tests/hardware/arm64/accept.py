"""Provisions the emulated root, enrols it at a controller on loopback and has it run int8 artifacts. See run.sh.

The board is one in everything but speed: real aarch64 runtimes and the agent from its wheel. So outputs and accuracy are
looked at, and that no time of it is shown anywhere.
"""

import argparse
import asyncio
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hardware.arm64.inspection import LEAST_EVALUATED, NotAccepted, inspect, require, say

from edgefleet_controller.client import TERMINAL_JOB_STATES, Client, connect
from edgefleet_controller.engine.child_process import ChildLimits, run_child_step
from edgefleet_deploy.targets import TARGETS

REPOSITORY = Path(__file__).resolve().parents[3]
BOARD = "emulated-arm64"
SETTINGS = {
    "seconds": 0.3,
    "min_samples": 20,
    "max_seconds": 60.0,
    "warmup_seconds": 0.1,
    "warmup_iterations": 2,
    "evaluation_limit": LEAST_EVALUATED,
    "deadline_s": 900.0,
}
"""A few inferences: an emulator takes 500 times as long as the host, and its times are not wanted."""

TRAINING = {
    "task": "train_model",
    "architecture": "resnet",
    "arguments": {},
    "data": {"kind": "packaged", "name": "digits"},
    "seed": 0,
    "epochs": 4,
}
DEADLINE_S = 1500.0
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Place:
    """Where the emulated root, the scratch folder, Ansible and the wheel are."""

    root: Path
    work: Path
    ansible: Path
    wheel: Path


def main() -> int:
    """Everything; returns 0, or raises with what was wrong."""
    place = read_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        client = stack.enter_context(controller(place))
        with timed("register the board"):
            device = client.add_device(BOARD, "linux-host", kind="emulated")
        write_inventory(place, client.url, device["join_token"])
        with timed("provision, first run"):
            require(provision(place, "site.yml")["changed"] > 0, "the first run changed nothing")
        with timed("provision, second run"):
            require(provision(place, "site.yml")["changed"] == 0, "the second run changed something")
        require_no_token(place, device["join_token"])
        with timed("train and upload a network"):
            model = client.add_model(train(place), name="digits-resnet", data="digits")
        job = submit(client, model["id"])
        running = stack.enter_context(agent(place))
        with timed("compress, compile and run the artifacts on the board"):
            job = wait_for_job(client, job["id"], running)
        inspect(client, job, place.work / "controller")
    with timed("remove the agent"):
        provision(place, "remove.yml", "--extra-vars", "remove_state=true")
        require(not (place.root / "opt/edgefleet-agent").exists(), "the agent's files are still there")
    say("accepted")
    return 0


def read_arguments() -> Place:
    """The command line."""
    parser = argparse.ArgumentParser()
    for name in ("root", "work", "ansible", "wheel"):
        parser.add_argument("--" + name, type=Path, required=True)
    return Place(**vars(parser.parse_args()))


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Print how long the block took."""
    started = time.monotonic()
    yield
    say(f"   {time.monotonic() - started:6.1f} s  {name}")


@contextmanager
def process(
    command: Sequence[str | Path], log: Path, environment: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with its output in a file, ended when the block ends: first politely."""
    with log.open("wb") as file:
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment)
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def wait_until(is_true: Callable[[], object], watched: "subprocess.Popen[bytes]", log: Path) -> None:
    """Poll until it is so; raises NotAccepted when the process ends first or time is up."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_true():
        if watched.poll() is not None or time.monotonic() > deadline_s:
            raise NotAccepted(f"{log.name}:\n{log.read_text()[-3000:]}")
        time.sleep(0.5)


@contextmanager
def controller(place: Place) -> Iterator[Client]:
    """A real controller on loopback, which the root shares with this host."""
    data, log = place.work / "controller", place.work / "controller.log"
    command = [sys.executable, "-m", "edgefleet_controller", "serve", "--data-dir", str(data), "--port", "0"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(place.work), "EDGEFLEET_HOST_LOCK": str(place.work / "lock")}
    with process(command, log, environment) as running:
        wait_until((data / "serve.json").exists, running, log)
        with connect(json.loads((data / "serve.json").read_text())["url"], data) as client:
            yield client


def write_inventory(place: Place, url: str, join_token: str) -> None:
    """The root as a host of the groups boards and raspberry_pi, over the chroot connection."""
    variables = {
        "ansible_connection": "community.general.chroot",
        "ansible_host": str(place.root),
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        "agent_common_controller_url": url,
        "agent_common_join_token": join_token,
        "agent_common_name": BOARD,
        "agent_common_wheel": str(place.wheel),
        "agent_common_labels": {"stand": "emulated"},
    }
    inventory = {"all": {"children": {"boards": {"children": {"raspberry_pi": {"hosts": {BOARD: variables}}}}}}}
    path = place.work / "inventory.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(inventory))


def provision(place: Place, playbook: str, *arguments: str) -> dict[str, int]:
    """Run a playbook on the root; returns the counts of its recap. Raises NotAccepted where a task failed."""
    command = [
        str(place.ansible / "ansible-playbook"),
        "--inventory",
        str(place.work / "inventory.json"),
        playbook,
        *arguments,
    ]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(place.work), "LC_ALL": "C.UTF-8"}
    environment |= {"ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_LOCALHOST_WARNING": "false"}
    done = subprocess.run(
        command, cwd=REPOSITORY / "ansible", env=environment, capture_output=True, text=True, check=False
    )
    recap = re.search(rf"^{BOARD}\s*: (.*)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or recap is None:
        raise NotAccepted(f"{playbook} failed:\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}")
    say(f"   {playbook}: {' '.join(recap[1].split())}")
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap[1])}


def require_no_token(place: Place, token: str) -> None:
    """The board's settings, unit and state hold no join token."""
    folders = [place.root / name for name in ("etc/edgefleet-agent", "etc/systemd/system", "var/lib/edgefleet-agent")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    require(files, "the roles wrote no files")
    require(not [path for path in files if token.encode() in path.read_bytes()], "the join token stayed on the board")


def train(place: Place) -> Path:
    """A small network, trained for a moment; returns its candidate file."""
    folder = place.work / "network"
    folder.mkdir()
    request = TRAINING | {"output_dir": str(folder), "threads": 2}
    step = run_child_step(
        "edgefleet_compression.step", request, on_event=lambda _: None, limits=ChildLimits(timeout_s=600)
    )
    return folder / str(asyncio.run(step)["candidate"])


def submit(client: Client, model_id: str) -> dict[str, Any]:
    """A job of the int8 recipe for every runtime that the wheel's extras bring and this host can compile for."""
    targets = ["onnxruntime"]
    if "litert" in TARGETS and has_litert_compiler():
        targets.append("litert")
    else:
        say("   no litert artifact: the [tflite] extra is not installed on this host")
    return client.submit_job(model_id, recipes=["int8"], targets=targets, devices=[BOARD], settings=SETTINGS, seed=0)


def has_litert_compiler() -> bool:
    """Is the converter there?"""
    command = [
        sys.executable,
        "-c",
        "import importlib.util, sys; sys.exit(not importlib.util.find_spec('litert_torch'))",
    ]
    return subprocess.run(command, check=False).returncode == 0


@contextmanager
def agent(place: Place) -> Iterator["subprocess.Popen[bytes]"]:
    """The installed agent as its unit would start it: same account, same settings file, no token."""
    unit = (place.root / "etc/systemd/system/edgefleet-agent.service").read_text()
    program = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    settings = (place.root / "etc/edgefleet-agent/agent.env").read_text()
    environment = dict(line.split("=", 1) for line in shlex.split(settings, comments=True))
    command = ["chroot", "--userspec=edgefleet:edgefleet", "--groups=i2c,video,plugdev", str(place.root)]
    log = place.work / "agent.log"
    environment |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/var/lib/edgefleet-agent"}
    try:
        with process(command + shlex.split(program[0]), log, environment) as running:
            yield running
    finally:
        say("".join(f"   agent.log: {line}\n" for line in log.read_text().splitlines()[-14:]).rstrip())


def wait_for_job(client: Client, job_id: str, running: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """The job once it has ended; raises NotAccepted when the agent ends first."""
    deadline_s = time.monotonic() + DEADLINE_S
    while (job := client.job(job_id, wait_s=5.0))["state"] not in TERMINAL_JOB_STATES:
        require(running.poll() is None, "the agent ended")
        require(time.monotonic() < deadline_s, f"the job is still {job['state']} after {DEADLINE_S:.0f} s")
    return job


if __name__ == "__main__":
    sys.exit(main())
