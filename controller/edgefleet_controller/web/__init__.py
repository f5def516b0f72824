"""Pages for people: Jinja2 templates, one style sheet, no scripts."""

from edgefleet_controller.web.pages import install_pages

__all__ = ["install_pages"]
