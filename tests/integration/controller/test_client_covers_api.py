"""Everything the API does, the client does and the command line offers.

Every call of the client is made against a transport that only notes what is asked, so the routes are those that the code
really sends. A route that no call reaches needs a reason here; so does a call that no command makes.
"""

import ast
import contextlib
import inspect
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgefleet_controller import cli
from edgefleet_controller.app import ROUTERS
from edgefleet_controller.client import Client, ClientError

NO_CALL = {
    "HEAD /v1/blobs/{sha256}": "GET answers the same and the bytes",
    "HEAD /v1/artifacts/{sha256}": "GET answers the same and the bytes",
}
"""Routes without a call, and why."""

NO_COMMAND = {
    "analysis": "`model analyze` waits, which calls it",
    "health": "`status` asks whether the controller is ready, which holds more",
    "open_job": "an object for programs; commands work with documents",
    "open_study": "an object for programs; commands work with documents",
    "search": "an object for programs; `search` uses submit_study",
    "submit": "an object for programs; `job submit` uses submit_job",
}
"""Calls that no command makes, and why."""

SAMPLE: dict[str, Any] = {
    "path": None,
    "a": "0" * 64,
    "sha256": "0" * 64,
    "wheel_sha256": "0" * 64,
    "changes": {},
    "recipes": ["baseline"],
    "action": "disable",
    "role": "viewer",
}


def routes() -> set[str]:
    """Method and path of every route for people."""
    found = set()
    for router in ROUTERS:
        for route in router.routes:
            path: str = getattr(route, "path", "")
            methods: set[str] = getattr(route, "methods", set())
            found |= {f"{method} {path}" for method in methods if not path.startswith("/agent/")}
    return found


def calls() -> dict[str, Any]:
    named = inspect.getmembers(Client, inspect.isfunction)
    return {name: call for name, call in named if not name.startswith("_") and name not in ("close",)}


class Notes:
    """A controller that takes every request down and answers with something that ends waits and pages."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.add((request.method, request.url.path))
        axis = {"name": "x"}
        return httpx.Response(
            200,
            json={
                "id": "x", "state": "completed", "version": 1, "items": [], "next_after": None, "received_bytes": 0,
                "partial": False, "x": axis, "y": axis, "provenance": None, "points": [], "left_out": [],
            },
        )  # fmt: skip


def asked_by(name: str, file: Path) -> set[tuple[str, str]]:
    """What one call sends, with ``x`` for every name."""
    notes = Notes()
    client = Client("http://controller", "eot_x", transport=httpx.MockTransport(notes))
    given = {}
    for parameter in list(inspect.signature(getattr(client, name)).parameters.values()):
        if parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            given[parameter.name] = file if parameter.name == "path" else SAMPLE.get(parameter.name, "x")
    with contextlib.suppress(ClientError):  # a download of nothing has another hash
        result = getattr(client, name)(**given)
        if inspect.isgenerator(result):
            list(result)
    if name == "set_member":
        client.set_member("x", "x", None)
    if name == "change_user":
        for action in ("enable", "password"):
            client.change_user("x", action)
    return notes.asked


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("edgefleet_controller.client.files.IN_PARTS_BYTES", 3)
    path = tmp_path / "net.onnx"
    path.write_bytes(b"model")
    return path


def matches(route: str, request: tuple[str, str]) -> bool:
    method, path = route.split(" ")
    return method == request[0] and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", path), request[1]) is not None


def test_every_route_for_people_is_a_call_of_the_client(file: Path, tmp_path: Path) -> None:
    asked = set().union(*(asked_by(name, file) for name in calls()))
    small = tmp_path / "small"
    small.write_bytes(b"x")
    notes = Notes()
    Client("http://controller", "eot_x", transport=httpx.MockTransport(notes)).upload(small)
    asked |= notes.asked
    missing = {route for route in routes() if not any(matches(route, request) for request in asked)}
    assert missing == set(NO_CALL)
    unknown = {request for request in asked if not any(matches(route, request) for route in routes())}
    assert unknown == set()


def test_every_call_of_the_client_is_made_by_a_command() -> None:
    folder = Path(inspect.getfile(cli)).parent
    used = {
        node.attr
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "client"
    }
    assert set(calls()) - used == set(NO_COMMAND), "a new call of the client needs a command, or a reason"
