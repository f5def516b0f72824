"""What may go wrong in the client.

ClientError
    ControllerUnreachable   no controller answered
    ExtraMissing            a library that the call needs is not installed
    JobDidNotComplete       a job that was waited for failed or was cancelled
"""

from typing import Any

import httpx

JsonObject = dict[str, Any]


class ClientError(Exception):
    """A request did not succeed; ``code`` is stable, the message says what to do next."""

    def __init__(
        self, code: str, message: str, *, status: int | None = None, problem: JsonObject | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.problem = problem or {}


class ControllerUnreachable(ClientError):
    """No controller answered at this address."""

    def __init__(self, url: str, cause: Exception) -> None:
        super().__init__(
            "controller_unreachable",
            f"no controller answers at {url} ({str(cause) or type(cause).__name__}); "
            "start one with 'edgefleet serve' or name another with --url",
        )


class ExtraMissing(ClientError):
    """A library that only some need is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            "extra_missing", f"this needs {library}, which is not installed; run: pip install 'edgefleet[{extra}]'"
        )


class JobDidNotComplete(ClientError):
    """A job that was waited for failed or was cancelled; ``job`` is its last document."""

    def __init__(self, job: JsonObject) -> None:
        error = job.get("error") or {}
        message = str(error.get("message", f"the job is {job['state']}"))
        super().__init__(
            str(error.get("code", f"job_{job['state']}")),
            f"job {job['id']} is {job['state']}: {message}; its log: edgefleet job events {job['id']}",
        )
        self.job = job


class StudyDidNotComplete(ClientError):
    """A study that was waited for failed or was cancelled; ``study`` is its last document."""

    def __init__(self, study: JsonObject) -> None:
        error = study.get("error") or {}
        message = str(error.get("message", f"the study is {study['state']}"))
        super().__init__(
            str(error.get("code", f"study_{study['state']}")),
            f"study {study['id']} is {study['state']}: {message}; what it found so far: edgefleet study summary {study['id']}",
        )
        self.study = study


def error_of(response: httpx.Response) -> ClientError:
    """The error that a problem document, or any other answer with an error's status, stands for."""
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    details = "; ".join(
        f"{item.get('field', item.get('pointer', ''))}: {item.get('message', item.get('detail', ''))}"
        for item in problem.get("errors", [])
    )
    message = str(problem.get("detail") or problem.get("title") or f"the controller answered {response.status_code}")
    return ClientError(
        str(problem.get("code", f"http_{response.status_code}")),
        f"{message} ({details})" if details else message,
        status=response.status_code,
        problem=problem,
    )
