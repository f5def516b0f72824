"""Looks at what the emulated board's runs left: rows in the database, and nowhere a time of them."""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from edgefleet_controller.client import Client

LEAST_EVALUATED = 40
"""Samples of the evaluation set that accept.py asks for."""


class NotAccepted(Exception):
    """What was seen is not what it has to be."""


def say(text: str) -> None:
    """A line of the log, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def require(is_true: object, otherwise: str) -> None:
    """Raise NotAccepted unless it is so."""
    if not is_true:
        raise NotAccepted(otherwise)


def inspect(client: Client, job: dict[str, Any], data: Path) -> None:
    """The rows in the database, and that no page, table or front shows a time of them."""
    require(job["state"] == "completed", f"the job is {job['state']}: {job.get('error')}")
    rows = client.results(job["id"])
    device = client.device(str(rows[0]["device_id"]))
    facts = device["facts"]
    say(f"   board: kind {device['kind']}, {facts['machine']}, {facts['cpu_model']}, labels {facts['labels']}")
    for runtime in facts["runtimes"]:
        say(
            f"   runtime: {runtime['name']} {runtime['version']} on Python {runtime['python_version']} ({runtime['interpreter']})"
        )
    require((device["kind"], facts["machine"]) == ("emulated", "aarch64"), "the board is not an emulated aarch64 one")
    require(facts["labels"]["emulator"].startswith("qemu-aarch64"), "the agent did not notice the emulator itself")
    stored = read_results(data, job["id"])
    for row in stored:
        say(f"   database: {row}")
    require(len(stored) == len(rows) and rows, "a run has no row in the database")
    require({row["provenance"] for row in stored} == {"emulated"}, "a row's provenance is not emulated")
    for row in rows:
        inspect_row(row)
    for y in ("accuracy", "size_bytes"):
        for provenance in ("measured", "emulated"):
            require(client.front(job["id"], y=y, provenance=provenance).points == (), "an emulated time is in a front")
    inspect_page(data, client, job["id"])
    print_table(data, job["id"])


def inspect_row(row: dict[str, Any]) -> None:
    """It ran, its accuracy is that of the host, and it shows no time."""
    name = f"{row['name']} for {row['target']}"
    say(f"   {name}: accuracy {row['accuracy_device']} on the board (n {row['accuracy_n']}), {row['verdict']}")
    require(row["run_state"] == "completed" and row["provenance"] == "emulated", f"{name} did not run: {row['error']}")
    require(row["accuracy_n"] >= LEAST_EVALUATED, f"{name} was not evaluated")
    require(row["accuracy_device"] > 0.8, f"{name} computes nonsense")
    shown = (
        row["latency_ms"],
        row["speedup_p50"],
        row["peak_memory_bytes"],
        row["energy"]["value_mj"],
        row["on_front"],
    )
    require(shown == (None, None, None, None, False), f"{name} shows a figure of the emulator: {shown}")


def inspect_page(data: Path, client: Client, job_id: str) -> None:
    """The page labels the rows and draws nothing of them."""
    token = (data / "operator.token").read_text().strip()
    page = httpx.get(f"{client.url}/jobs/{job_id}", headers={"Authorization": f"Bearer {token}"}).text
    require(">emulated</span>" in page, "the page does not label the rows as emulated")
    require("Front on " not in page, "the page draws a figure of the emulated board")
    say("   page: rows labelled emulated, no figure drawn")


def print_table(data: Path, job_id: str) -> None:
    """What a person sees of the job on the command line."""
    command = [
        sys.executable,
        "-m",
        "edgefleet_controller",
        "results",
        job_id,
        "--data-dir",
        str(data),
    ]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(data), "COLUMNS": "200"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    say(done.stdout.rstrip())
    require("(emulated)" in done.stdout, "the table does not label the rows as emulated")


def read_results(data: Path, job_id: str) -> list[dict[str, Any]]:
    """Rows of the table of results, as they lie in the controller's file."""
    query = """SELECT variants.target, runs.state, runs.attempt, results.provenance, results.latency_n,
                      length(results.report) AS report_bytes
               FROM results JOIN runs ON runs.id = results.run_id JOIN variants ON variants.id = runs.variant_id
               WHERE variants.job_id = ? ORDER BY variants.ordinal"""
    with contextlib.closing(sqlite3.connect(f"file:{data / 'edgefleet.db'}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query, (job_id,))]
