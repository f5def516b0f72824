"""Pages for people: Jinja2 templates, our own style sheets and scripts, and three vendored libraries."""

from edgefleet_controller.web.pages import install_pages

__all__ = ["install_pages"]
