"""Units of a study as a child process: ``python -m edgefleet_deploy.study_step`` (protocol: edgefleet_compression.child).

Task ``carry_out`` takes {declaration, scale, folder, external, threads, device} and answers {n_units, n_finished, versions,
data}. Every finished unit is a file in the folder, so that a child that is killed loses one unit at most.
"""

import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgefleet_compression.child import Emit, run_child
from edgefleet_compression.errors import CompressionError, RequestInvalid
from edgefleet_compression.studies.declaration import ScaleName, StudyDeclaration
from edgefleet_compression.studies.records import StudyFolder, finished
from edgefleet_compression.studies.running import run_units
from edgefleet_deploy.errors import DeployError

PACKAGES: Final = ("edgefleet", "torch", "torch-pruning", "numpy", "scipy", "scikit-learn", "onnx", "onnxruntime")
"""What figures depend on."""


class StudyRequest(BaseModel):
    """One request; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: Literal["carry_out"]
    declaration: StudyDeclaration = Field(description="The study.")
    scale: ScaleName = Field(description="One of its scales.")
    folder: Path = Field(description="Where its work is kept; made if it is not there.")
    external: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Specifications the scale leaves open."
    )
    threads: int = Field(1, ge=1, le=256)
    device: Literal["auto", "cpu", "cuda"] = "cpu"


def carry_out(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Carry out the units that have no record yet."""
    try:
        wanted = StudyRequest.model_validate(request)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "request"
        raise RequestInvalid(f"The request is not valid at {where}: {first['msg']}.") from error
    from edgefleet_deploy.study_units import LocalExecutor  # loads torch: a refused request should not wait for it

    executor = LocalExecutor(threads=wanted.threads, device=wanted.device)
    records = run_units(
        wanted.declaration.scale(wanted.scale),
        StudyFolder(wanted.folder),
        executor,
        external=wanted.external,
        emit=emit,
    )
    return {"n_units": len(records), "n_finished": len(finished(records)), "versions": versions()}


def versions() -> dict[str, str]:
    """Return the versions that figures depend on."""
    found = {name: metadata.version(name) for name in PACKAGES}
    return {**found, "python": platform.python_version(), "machine": platform.machine()}


def main() -> int:
    """Serve the one request on stdin; return the exit status."""
    return run_child({"carry_out": carry_out}, error_roots=(DeployError, CompressionError))


if __name__ == "__main__":
    sys.exit(main())
