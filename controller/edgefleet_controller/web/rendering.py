"""Renders templates: autoescaped, with headers that allow our own files only, and no inline script or style."""

from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from edgefleet_controller.errors import ControllerError, NotAuthenticated
from edgefleet_controller.web import formats
from edgefleet_controller.web.assets import asset_address
from edgefleet_controller.web.badges import badge, flag
from edgefleet_controller.web.icons import icon
from edgefleet_controller.web.navigation import places_for, visitor_of

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # with no-referrer, browsers send `Origin: null` with forms, and the check of the origin would refuse our own
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
API_PREFIXES = ("/v1/", "/agent/", "/healthz", "/readyz", "/metrics", "/openapi.json")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("edgefleet_controller.web"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS)
    environment.globals.update(asset=asset_address, icon=icon, badge=badge, flag=flag)
    return environment


_ENVIRONMENT = _environment()


def render(request: Request, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
    """A page."""
    visitor = visitor_of(request)
    frame = {"visitor": visitor, "places": places_for(visitor), "path": request.url.path}
    html = _ENVIRONMENT.get_template(template).render(**frame, **values)
    return HTMLResponse(html, status_code=status_code, headers=SECURITY_HEADERS)


def render_part(template: str, macro: str, *arguments: Any) -> Markup:
    """What a macro of a template writes, for a part of a page that is sent alone."""
    return Markup(getattr(_ENVIRONMENT.get_template(template).module, macro)(*arguments))  # noqa: S704  # the macro escapes


def redirect(path: str) -> RedirectResponse:
    """Answer a form: the browser gets the page anew, so that going back or reloading sends nothing twice."""
    return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})


def wants_page(request: Request) -> bool:
    """Whether a person in a browser is to read the answer."""
    return "text/html" in request.headers.get("Accept", "") and not request.url.path.startswith(API_PREFIXES)


def error_page(request: Request, error: ControllerError) -> Response:
    """The error as a page; a stranger who only looks is sent to sign in, and comes back afterwards."""
    if isinstance(error, NotAuthenticated):
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if "HX-Request" in request.headers:
            shown = urlsplit(request.headers.get("HX-Current-URL", path))
            back = sign_in_address(shown.path + (f"?{shown.query}" if shown.query else ""))
            return Response(status_code=NotAuthenticated.status, headers={"HX-Redirect": back})
        if request.method == "GET":
            return redirect(sign_in_address(path))
    return render(request, "error.html", error.status, error=error, back=came_from(request))


def sign_in_address(path: str) -> str:
    """The sign-in page that leads back to this path."""
    return "/login" if path in ("/", "/fleet") else f"/login?next={quote(path, safe='')}"


def local_path(wanted: str) -> str:
    """The path if it leads to a page of ours, else the first page: a link must not lead a person elsewhere."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_ours else "/fleet"


def came_from(request: Request) -> str:
    """The page of ours that a person came from; the fleet if it was none."""
    referrer = urlsplit(request.headers.get("Referer", ""))
    is_ours = referrer.netloc == request.headers.get("Host") and referrer.path not in ("", request.url.path, "/login")
    return local_path(referrer.path + (f"?{referrer.query}" if referrer.query else "")) if is_ours else "/fleet"
