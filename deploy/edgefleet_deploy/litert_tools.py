"""Which packages write .tflite files, and whether they are installed. Importing this module loads none of them."""

from importlib.util import find_spec

from edgefleet_deploy.errors import CompilerUnavailable

TOOLS = ("litert_torch", "ai_edge_quantizer", "ai_edge_litert")
"""Packages of the extra ``tflite``."""


def missing_tools(*names: str) -> list[str]:
    """Return those of the named packages (by default of all of the extra) that are not installed, as pip names them."""
    return [name.replace("_", "-") for name in names or TOOLS if find_spec(name) is None]


def require_tools(*names: str) -> None:
    """Raise CompilerUnavailable naming the packages of the extra ``tflite`` that are not installed."""
    missing = missing_tools(*names)
    if missing:
        raise CompilerUnavailable(
            "tflite files are written by {}, not installed here: install the extra (pip install 'edgefleet[tflite]', or "
            "make setup EXTRAS=tflite)".format(", ".join(missing)),
            detail={"missing": missing},
        )
