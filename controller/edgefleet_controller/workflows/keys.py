"""The caches' keys: what decides the bytes of a candidate, of an artifact and of an evaluation set."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgefleet_compression.recipe import recipe_sha256
from edgefleet_controller.canonical import canonical_sha256
from edgefleet_controller.workflows.compiled import COMPILED_FILES
from edgefleet_controller.workflows.recipes import recipe_of
from edgefleet_controller.workflows.repository import VariantWork
from edgefleet_deploy.targets import Target

JsonObject = dict[str, Any]

COMPRESSION_TOOLS = ("edgefleet", "torch", "torch-pruning", "numpy")
DATA_TOOLS = ("edgefleet", "numpy")
COMPILE_TOOLS = ("edgefleet", "torch", "onnx", "onnxruntime", "numpy")
TFLITE_TOOLS = (
    "edgefleet",
    "torch",
    "numpy",
    "litert-torch",
    "litert-converter",
    "ai-edge-quantizer",
    "ai-edge-litert",
)
TORCH_DEVICES = {"cpu": "cpu", "gpu": "cuda"}


def compression_key(variant: VariantWork, threads: int) -> JsonObject:
    """What decides a candidate's bytes."""
    key: JsonObject = {
        "model_sha256": variant.model_sha256,
        "recipe_sha256": recipe_sha256(recipe_of(variant)),
        "data_sha256": variant.data_sha256,
        "seed": variant.seed,
        "threads": threads,  # the order of floating-point sums depends on it
        "tools": tool_versions(COMPRESSION_TOOLS),
    }
    return key if variant.compute == "cpu" else key | {"device": TORCH_DEVICES[variant.compute]}


def artifact_key(variant: VariantWork, target: Target, candidate_sha256: str) -> JsonObject:
    """What decides an artifact's bytes."""
    return {
        "candidate_sha256": candidate_sha256,
        "recipe_sha256": variant.recipe_sha256,  # the manifest names it
        "target": asdict(target),
        "data_sha256": variant.data_sha256,
        "seed": variant.seed,
        "tools": tool_versions(TFLITE_TOOLS if target.file_format == "tflite" else COMPILE_TOOLS),
        "files": COMPILED_FILES,
    }


def data_key(model_sha256: str, data: JsonObject | None) -> str:
    """SHA-256 of what decides a job's evaluation set."""
    return canonical_sha256({"model_sha256": model_sha256, "data": data, "tools": tool_versions(DATA_TOOLS)})


def tool_versions(names: Sequence[str]) -> dict[str, str | None]:
    """Return package -> version, null for one that is not installed: the compiler then says what is missing."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
