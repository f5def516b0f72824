"""The compression step as a child process: ``python -m edgefleet_compression.step`` (protocol: ``child.py``).

Tasks: ``train_model``, ``prepare_data``, ``compress``, ``analyze``, ``inspect``. torch is loaded only by those that need it.
"""

import sys
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from edgefleet_compression.child import Emit, run_child
from edgefleet_compression.errors import CompressionError, RequestInvalid
from edgefleet_compression.requests import (
    AnalyzeRequest,
    CompressRequest,
    InspectRequest,
    PrepareDataRequest,
    RequestT,
    TrainModelRequest,
)


def train_model(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Train a registered architecture from scratch: the demo's baseline."""
    from edgefleet_compression import tasks

    return tasks.train_model(_parsed(TrainModelRequest, request), emit)


def compress(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Carry out a recipe on a model file."""
    from edgefleet_compression import tasks

    return tasks.compress(_parsed(CompressRequest, request), emit)


def prepare_data(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Check a data set against a model and write its test split for the devices."""
    from edgefleet_compression.data import evaluation_set

    parsed = _parsed(PrepareDataRequest, request)
    emit(0.0, "loading the data set")
    return evaluation_set.prepare(parsed.data, model=parsed.model, output_dir=parsed.output_dir)


def analyze(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Look at a torch model before compression."""
    from edgefleet_compression import tasks

    return tasks.analyze(_parsed(AnalyzeRequest, request), emit)


def inspect(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Look at a model file without running anything of it."""
    from edgefleet_compression.inspection import inspect_model_file

    emit(0.0, "reading the file")
    return inspect_model_file(_parsed(InspectRequest, request).model).model_dump(mode="json")


TASKS: Final = {
    "train_model": train_model,
    "prepare_data": prepare_data,
    "compress": compress,
    "analyze": analyze,
    "inspect": inspect,
}


def _parsed(of_type: type[RequestT], request: Mapping[str, Any]) -> RequestT:
    try:
        return of_type.model_validate(request)
    except ValidationError as error:
        findings = [
            {"path": ".".join(str(part) for part in item["loc"]), "message": item["msg"]}
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        first = findings[0]
        raise RequestInvalid(
            f"The request is not valid at {first['path']}: {first['message']}.", detail={"errors": findings}
        ) from error


def main() -> int:
    """Serve the one request on stdin."""
    return run_child(TASKS, error_roots=(CompressionError,))


if __name__ == "__main__":
    sys.exit(main())
