"""The Python client of the controller's API, and all that the command line uses.

    with connect() as client:
        job = client.submit(Path("mine.onnx"), data=Path("mine.npz"), recipes=["baseline", "int8"])
        table = job.wait(progress=True).results()
        best = job.front(constraints=["latency_p90_ms<=20"]).best

Small and synchronous; it imports neither torch nor any other part of the controller. What may be repeated after a lost
connection is repeated; a job is submitted with an idempotency key, so that a repetition cannot start it twice.
"""

from edgefleet_controller.client.client import Client
from edgefleet_controller.client.discovery import connect
from edgefleet_controller.client.errors import (
    ClientError,
    ControllerUnreachable,
    ExtraMissing,
    JobDidNotComplete,
    StudyDidNotComplete,
)
from edgefleet_controller.client.fronts import Front, LeftOutRow, Point
from edgefleet_controller.client.job import Job
from edgefleet_controller.client.models import GENERATED_DATA
from edgefleet_controller.client.rows import ResultRow, Results
from edgefleet_controller.client.study import Study
from edgefleet_controller.client.waiting import TERMINAL_JOB_STATES

__all__ = [
    "GENERATED_DATA",
    "TERMINAL_JOB_STATES",
    "Client",
    "ClientError",
    "ControllerUnreachable",
    "ExtraMissing",
    "Front",
    "Job",
    "JobDidNotComplete",
    "LeftOutRow",
    "Point",
    "ResultRow",
    "Results",
    "Study",
    "StudyDidNotComplete",
    "connect",
]
