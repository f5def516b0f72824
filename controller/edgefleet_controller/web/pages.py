"""Adds the pages to the app."""

from fastapi import FastAPI


def install_pages(app: FastAPI) -> None:
    """Add the pages."""
