"""Renders every error as ``application/problem+json`` (RFC 9457)."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, OperationalError, StatementError
from starlette.exceptions import HTTPException

from edgefleet_agent.wire.base import MINIMUM_PROTOCOL
from edgefleet_controller.errors import ControllerError, Fault, InvalidRequest, StoreUnavailable, UpgradeRequired
from edgefleet_controller.observability.requests import HEADER as REQUEST_ID_HEADER
from edgefleet_controller.observability.requests import current_request_id

LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
_HTTP_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    416: "range_not_satisfiable",
}


class FieldProblem(BaseModel):
    """One invalid field."""

    field: str = Field(description="where: body, query, path or header, then the names down to the field, with dots")
    message: str = Field(description="what is wrong with it")
    kind: str = Field(description="stable kind of the violation")


class Problem(BaseModel):
    """An error; further members carry facts of the particular case."""

    type: str = Field(description="URI of the kind of error")
    title: str = Field(description="HTTP status phrase")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="what was wrong, where, and what to do next")
    instance: str = Field(description="path of the request")
    request_id: str | None = Field(default=None, description="identifier of the request in the controller's log")
    code: str = Field(description="stable snake_case code")
    fault: Fault = Field(description="who has to act: client, server or device")
    retry: bool = Field(description="whether the same request may succeed later")
    errors: list[FieldProblem] = Field(default_factory=list, description="invalid fields, for code invalid_request")


def problem_response(request: Request, error: ControllerError, **headers: str) -> JSONResponse:
    """The response that says this error."""
    request_id = current_request_id()
    problem = Problem(
        type=f"urn:edgefleet:problem:{error.code}",
        title=_title(error),
        status=error.status,
        detail=error.message,
        instance=request.url.path,
        request_id=request_id,
        code=error.code,
        fault=error.fault,
        retry=error.retry,
        errors=error.extra.get("errors", []),
    )
    body = {**jsonable_encoder(error.extra), **problem.model_dump()}
    headers |= error.headers
    if request_id is not None:
        headers[REQUEST_ID_HEADER] = request_id  # also where an unexpected error is answered, outside all middleware
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return JSONResponse(body, status_code=error.status, media_type=MEDIA_TYPE, headers=headers)


def _title(error: ControllerError) -> str:
    return error.code.replace("_", " ").capitalize()


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    app.add_exception_handler(ControllerError, _on_controller_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(OperationalError, _on_store_error)
    app.add_exception_handler(DataError, _on_data_error)
    app.add_exception_handler(StatementError, _on_statement_error)
    app.add_exception_handler(Exception, _on_unknown)


def _on_controller_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ControllerError)
    return problem_response(request, error)


def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if request.url.path.startswith("/agent/") and _speaks_old_protocol(error.body):
        return problem_response(request, UpgradeRequired(minimum_protocol=MINIMUM_PROTOCOL))
    fields = [
        FieldProblem(field=".".join(map(str, item["loc"])), message=item["msg"], kind=item["type"])
        for item in error.errors()
    ]
    return problem_response(request, InvalidRequest(errors=fields))


def _speaks_old_protocol(body: Any) -> bool:
    # an older agent's body may lack fields of today, so it has to be recognised before it is called invalid
    version = body.get("protocol") if isinstance(body, dict) else None
    return isinstance(version, int) and version < MINIMUM_PROTOCOL


def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ControllerError):  # raised while the framework read the body
        return problem_response(request, error.__cause__)
    problem = ControllerError(str(error.detail)) if error.status_code >= 500 else InvalidRequest(str(error.detail))
    problem.status = error.status_code
    problem.code = _HTTP_CODES.get(error.status_code, "http_error")
    return problem_response(request, problem, **(error.headers or {}))


def _on_store_error(request: Request, error: Exception) -> JSONResponse:
    LOG.error("store error at %s %s", request.method, request.url.path, exc_info=error)
    return problem_response(request, StoreUnavailable())


def _on_data_error(request: Request, _error: Exception) -> JSONResponse:
    return problem_response(request, InvalidRequest("A value cannot be stored, such as text with a NUL character."))


def _on_statement_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StatementError)
    if isinstance(error.orig, ControllerError):  # raised while a row's defaults were computed
        return problem_response(request, error.orig)
    return _on_unknown(request, error)


def _on_unknown(request: Request, error: Exception) -> JSONResponse:
    LOG.error("unexpected error at %s %s", request.method, request.url.path, exc_info=error)
    return problem_response(request, ControllerError())
