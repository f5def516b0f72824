"""Adds the pages to the app."""

from fastapi import FastAPI

from edgefleet_controller.errors import ControllerError
from edgefleet_controller.web import endpoints
from edgefleet_controller.web.rendering import page_or_problem


def install_pages(app: FastAPI) -> None:
    """Add the pages; errors on them are shown as pages too."""
    app.include_router(endpoints.router)
    app.add_exception_handler(ControllerError, page_or_problem)
