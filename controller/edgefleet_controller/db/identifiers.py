"""Identifiers: a prefix that names the thing and a ULID, so that they sort by time of creation."""

from typing import Literal

from ulid import ULID

Prefix = Literal[
    "dev",
    "jtk",
    "mod",
    "ana",
    "job",
    "var",
    "run",
    "cmp",
    "usr",
    "prj",
    "tok",
    "wrk",
    "rel",
    "rol",
    "reg",
    "whk",
    "dlv",
    "stu",
]


def new_id(prefix: Prefix) -> str:
    """A fresh identifier, such as ``job_01JD...``."""
    return f"{prefix}_{ULID()}"
