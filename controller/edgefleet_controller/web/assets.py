"""Hands out style sheets and scripts, vendored ones among them, under addresses that change with their content."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from edgefleet_controller.errors import NotFound

router = APIRouter(include_in_schema=False, default_response_class=Response)
FOLDER = Path(__file__).parent / "static"
MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
)
"""By extension; a file of another one is not handed out."""

A_YEAR_S = 31_536_000


@cache
def asset_files() -> Mapping[str, Path]:
    """The files that are handed out, by their path below ``static``."""
    found = (path for path in sorted(FOLDER.rglob("*")) if path.suffix in MEDIA_TYPES)
    return MappingProxyType({path.relative_to(FOLDER).as_posix(): path for path in found})


@cache
def asset_version() -> str:
    """Changes with every change of an asset: one for all, so that modules may name each other by relative paths."""
    digest = hashlib.sha256()
    for name, path in asset_files().items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def asset_address(name: str) -> str:
    """Where a page finds the asset; ValueError for one that there is not."""
    if name not in asset_files():
        raise ValueError(f"there is no asset {name!r} below {FOLDER}")
    return f"/static/{asset_version()}/{name}"


@router.get("/static/{version}/{name:path}")
def show_asset(version: str, name: str) -> Response:
    """An asset. One of an older version is sent as it is now, and not kept by the browser."""
    path = asset_files().get(name)
    if path is None:
        raise NotFound(f"There is no file {name!r} here.")
    is_present = version == asset_version()
    headers = {
        "Cache-Control": f"public, max-age={A_YEAR_S}, immutable" if is_present else "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=headers)
