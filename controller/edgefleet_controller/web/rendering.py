"""Renders templates: autoescaped, without scripts, and with headers that forbid any."""

from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from edgefleet_controller.errors import ControllerError, NotAuthenticated
from edgefleet_controller.problems import problem_response
from edgefleet_controller.web import formats

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_API_PREFIXES = ("/v1/", "/agent/", "/healthz", "/readyz", "/openapi.json")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("edgefleet_controller.web"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS)
    return environment


_ENVIRONMENT = _environment()


def render(template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
    """A page."""
    html = _ENVIRONMENT.get_template(template).render(**values)
    return HTMLResponse(html, status_code=status_code, headers=SECURITY_HEADERS)


def page_or_problem(request: Request, error: Exception) -> Response:
    """The error as a page for a person in a browser, as a problem document for everyone else."""
    assert isinstance(error, ControllerError)
    wants_page = "text/html" in request.headers.get("Accept", "")
    if not wants_page or request.url.path.startswith(_API_PREFIXES):
        return problem_response(request, error)
    if isinstance(error, NotAuthenticated) and request.method == "GET":
        return RedirectResponse("/login", status_code=303, headers={"Cache-Control": "no-store"})
    return render("error.html", error.status, error=error)
