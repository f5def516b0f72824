"""A job as one HTML file to send to a colleague: tables, plots, verdicts in words, conditions, versions."""

from edgefleet_controller.exports.report.contents import Contents, gather
from edgefleet_controller.exports.report.page import render_report

__all__ = ["Contents", "gather", "render_report"]
