"""The command line ``edgefleet``."""

from edgefleet_controller.cli.app import main

__all__ = ["main"]
