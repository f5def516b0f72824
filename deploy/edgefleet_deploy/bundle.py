"""A serving bundle: one artifact as a model repository of the KServe v2 / Triton protocol. Torch-free.

Layout and config.pbtxt fields: Triton's model repository and model configuration pages (github
triton-inference-server/server, docs/user_guide/model_repository.md and model_configuration.md).
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from edgefleet_deploy.errors import BundleRefused
from edgefleet_deploy.manifest import ArtifactManifest, TensorSpec, verify_file

MAX_BATCH: Final = 32
"""Largest batch that the server may put together, where the artifact leaves the batch free."""

_BACKENDS: Final[Mapping[str, str]] = MappingProxyType({"onnxruntime": "onnxruntime", "tensorrt": "onnxruntime"})
_DATA_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "float32": "TYPE_FP32",
        "float16": "TYPE_FP16",
        "float64": "TYPE_FP64",
        "int64": "TYPE_INT64",
        "int32": "TYPE_INT32",
        "int8": "TYPE_INT8",
        "uint8": "TYPE_UINT8",
        "bool": "TYPE_BOOL",
    }
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def write_bundle(artifact: Path, manifest: ArtifactManifest, out_dir: Path, *, name: str = "model") -> Path:
    """Write ``out_dir/model_repository/<name>`` and return the repository's path.

    In it: ``1/model.onnx``, ``config.pbtxt``, ``manifest.json`` and a README with what goes before and after the model.
    Raises BundleRefused (``bundle_format``, ``bundle_type``, ``bundle_name``, ``bundle_exists``) and ArtifactMismatch.
    """
    if not _NAME.fullmatch(name):
        raise BundleRefused(
            f"{name!r} is not a model name: use 1 to 64 letters, digits, dots, hyphens, underscores", code="bundle_name"
        )
    config = model_config(manifest, name)
    verify_file(manifest, artifact)
    repository = out_dir / "model_repository"
    folder = repository / name
    if folder.exists():
        raise BundleRefused(f"{folder} exists already: choose another folder or name", code="bundle_exists")
    (folder / "1").mkdir(parents=True)
    shutil.copyfile(artifact, folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text(config, encoding="utf-8")
    (folder / "manifest.json").write_bytes(manifest.canonical_json())
    (folder / "README.md").write_text(_readme(manifest, name), encoding="utf-8")
    return repository


def model_config(manifest: ArtifactManifest, name: str) -> str:
    """Return config.pbtxt of an ONNX artifact: backend, batching, names, types and dimensions of inputs and outputs."""
    if manifest.format != "onnx" or manifest.runtime not in _BACKENDS:
        raise BundleRefused(
            f"the artifact is {manifest.format} for {manifest.runtime}; the Triton server has no backend for it: compile the "
            "candidate for the target onnxruntime-current or tensorrt",
        )
    has_free_batch = all(spec.shape and not isinstance(spec.shape[0], int) for spec in _tensors(manifest))
    lines = [
        f"name: {json.dumps(name)}",
        f'backend: "{_BACKENDS[manifest.runtime]}"',
        f"max_batch_size: {MAX_BATCH if has_free_batch else 0}",
        *_tensor_lines("input", manifest.inputs, has_free_batch),
        *_tensor_lines("output", manifest.outputs, has_free_batch),
        *_accelerator_lines(manifest),
    ]
    return "\n".join(lines) + "\n"


def _tensors(manifest: ArtifactManifest) -> tuple[TensorSpec, ...]:
    return (*manifest.inputs, *manifest.outputs)


def _tensor_lines(kind: str, specs: tuple[TensorSpec, ...], has_free_batch: bool) -> list[str]:
    lines = [f"{kind} ["]
    for position, spec in enumerate(specs):
        if spec.dtype not in _DATA_TYPES:
            raise BundleRefused(
                f"{kind} {spec.name!r} is {spec.dtype}, which the protocol has no name for", code="bundle_type"
            )
        # with max_batch_size above 0 the first dimension is the batch and not written (model_configuration.md)
        shape = spec.shape[1:] if has_free_batch else spec.shape
        dims = ", ".join(str(dim if isinstance(dim, int) else -1) for dim in shape)
        comma = "," if position < len(specs) - 1 else ""
        lines += [
            "  {",
            f"    name: {json.dumps(spec.name)}",
            f"    data_type: {_DATA_TYPES[spec.dtype]}",
            f"    dims: [ {dims} ]",
            "  }" + comma,
        ]
    return [*lines, "]"]


def _accelerator_lines(manifest: ArtifactManifest) -> list[str]:
    """Let the onnxruntime backend build the engine: a plan file would fit one GPU and one TensorRT version only."""
    plan = manifest.build_plan
    if plan is None:
        return ["instance_group [ { kind: KIND_CPU } ]"]
    mode = {"fp16": "FP16", "int8": "INT8"}.get(manifest.precision, "FP32")
    parameters = {"precision_mode": mode, "max_workspace_size_bytes": str(plan.workspace_bytes)}
    lines = ["instance_group [ { kind: KIND_GPU } ]", "optimization { execution_accelerators {"]
    lines += ["  gpu_execution_accelerator : [ {", '    name : "tensorrt"']
    lines += [f'    parameters {{ key: "{key}" value: "{value}" }}' for key, value in parameters.items()]
    return [*lines, "  } ]", "} }"]


def _readme(manifest: ArtifactManifest, name: str) -> str:
    inputs = "\n".join(f"- `{spec.name}`: {_before(spec)}" for spec in manifest.inputs)
    outputs = "\n".join(f"- `{spec.name}`: {spec.dtype} {list(spec.shape)}" for spec in manifest.outputs)
    return f"""# {name}

Artifact {manifest.sha256} ({manifest.precision}, {manifest.size_bytes} bytes), compiled for {manifest.target}.

    tritonserver --model-repository=model_repository

`GET /v2/models/{name}` describes it, `POST /v2/models/{name}/infer` runs it (KServe protocol, version 2).

## Before the model

{inputs}

## After the model

{outputs}

The first output holds one score per class; the class is the index of the largest. Scores are logits: take a softmax where
probabilities are wanted. For other tasks the outputs are the network's own.
{_engine_note(manifest)}"""


def _before(spec: TensorSpec) -> str:
    shape = list(spec.shape)
    if spec.dtype == "int64":
        return f"token ids, int64 {shape}; 0 is padding, shorter texts are filled up with it at the end"
    if len(spec.shape) == 4 and spec.dtype.startswith("float"):
        return (
            f"images, {spec.dtype} {shape}, channels first; bytes are divided by 255, as in training. Resize to this height "
            "and width; nothing else is subtracted or scaled"
        )
    return f"{spec.dtype} {shape}, as in training"


def _engine_note(manifest: ArtifactManifest) -> str:
    if manifest.build_plan is None:
        return ""
    return (
        "\n## Engine\n\nThe server builds a TensorRT engine when it loads the model, which takes minutes. Its size and speed are "
        "those of the GPU it is built on; they are not known from this file.\n"
    )
