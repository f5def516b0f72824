"""What a recipe works on and makes: a torch network or an ONNX graph, each saved as one file without pickling."""

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import onnx
import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import fx, nn

from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.factorisation import split_, widen_embeddings_
from edgefleet_compression.inspection import graph_precision, inspect_model_file, read_onnx
from edgefleet_compression.layers import resize_
from edgefleet_compression.models.blocks import find_units
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.onnx_plan import parse_plan
from edgefleet_compression.precision import Precision
from edgefleet_compression.quantization.graph import (
    fold_batchnorm,
    insert_fake_quant_,
    list_points,
    strip_fake_quant,
)
from edgefleet_compression.records import StepRecord
from edgefleet_compression.structure import STRUCTURE_KEY, Structure, format_structure, parse_structure

PLAN_KEY: Final = "edgefleet.plan"
HISTORY_KEY: Final = "edgefleet.history"
_HISTORY: Final = TypeAdapter(tuple[StepRecord, ...])


@dataclass(frozen=True)
class Traits:
    """What passes and compilers may rely on."""

    form: Literal["torch", "onnx"]
    precision: Precision
    has_plan: bool = False
    """True for an ONNX graph that carries a post-training plan, which the compiler carries out."""


@dataclass(frozen=True)
class TorchCandidate:
    """A network of the zoo with its structure. Passes never change ``model``; they work on a deep copy."""

    model: nn.Module
    structure: Structure

    @property
    def traits(self) -> Traits:
        """int8 means: fake-quant is attached (a folded ``fx.GraphModule``, see the ``quantization`` package).

        Of every other precision the network is the plain float one; the compiler carries ``structure`` out.
        """
        return Traits(form="torch", precision=self.structure.precision)

    @property
    def history(self) -> tuple[StepRecord, ...]:
        """The passes that made it, oldest first."""
        return self.structure.history


@dataclass(frozen=True)
class OnnxCandidate:
    """A person's own graph; ``plan`` (see ``onnx_plan``) is the quantization or cast that the compiler is to carry out."""

    model: onnx.ModelProto
    plan: Mapping[str, Any] | None = None
    history: tuple[StepRecord, ...] = ()

    @property
    def traits(self) -> Traits:
        """The plan's precision, or what the graph's own operators say where there is no plan."""
        precision = graph_precision(self.model) if self.plan is None else parse_plan(self.plan).precision
        return Traits(form="onnx", precision=precision, has_plan=self.plan is not None)


Candidate = TorchCandidate | OnnxCandidate


def file_name(candidate: Candidate) -> str:
    """Return the name a candidate's file has in a step's output directory."""
    return "candidate.safetensors" if isinstance(candidate, TorchCandidate) else "candidate.onnx"


def save_candidate(candidate: Candidate, path: Path) -> Path:
    """Write the candidate as one file, whole or not at all; the same candidate gives the same bytes. Returns ``path``."""
    payload = _torch_bytes(candidate) if isinstance(candidate, TorchCandidate) else _onnx_bytes(candidate)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(payload)
    partial.replace(path)
    return path


def load_candidate(path: Path) -> Candidate:
    """Return the candidate of a .safetensors or .onnx file, recognised by content; raises ModelFileInvalid."""
    facts = inspect_model_file(path)
    return _load_torch(path) if facts.format == "safetensors" else _load_onnx(path)


def build_network(structure: Structure) -> nn.Module:
    """Return the network of a structure on the meta device: right shapes, no memory, no values."""
    with torch.device("meta"):
        model = build_float_network(structure)
        plan = structure.quantization
        if plan is None or not plan.is_simulated:
            return model
        graph_module = fold_batchnorm(model)
        insert_fake_quant_(graph_module, plan.weights, structure.simulated, plan.layer_bits)
    if tuple(list_points(graph_module)) != plan.points:
        raise ModelFileInvalid(
            "The recorded fake-quant points are not those of the rebuilt network: the file was written by another version.",
            code="structure_mismatch",
        )
    return graph_module


def build_float_network(structure: Structure) -> nn.Module:
    """Return the structure's network without fake-quant, in eval mode, its weights as its family initialises them."""
    model = build_model(structure.architecture, structure.arguments)
    if structure.removed:
        _remove_units_(model, structure.removed)
    if structure.factorised:
        split_(model, structure.factorised)
    if structure.layers:
        resize_(model, structure.layers)
    widen_embeddings_(model, structure.factorised)
    return model.eval()


def _remove_units_(model: nn.Module, names: Sequence[str]) -> None:
    units = find_units(model)
    unknown = sorted(set(names) - set(units))
    if unknown:
        raise ModelFileInvalid(
            f"The architecture has no removable block {unknown[0]!r}: the file was written by another version.",
            code="structure_mismatch",
        )
    for name in names:
        units[name].remove_(model)


def float_network(candidate: TorchCandidate) -> nn.Module:
    """Return a copy of the candidate's network without fake-quant, in eval mode and float32, its weights as they are.

    For compilers whose runtime brings its own quantizer. Of an int8 candidate it is an ``fx.GraphModule`` of plain layers
    with BatchNorm folded and biases snapped to the integer grid, or with low-bit weights already on their grid; of every
    other one the zoo's module, BatchNorm live.
    """
    if isinstance(candidate.model, fx.GraphModule):
        return strip_fake_quant(candidate.model).eval()
    return copy.deepcopy(candidate.model).eval()


def _torch_bytes(candidate: TorchCandidate) -> bytes:
    tensors = {name: tensor.detach().contiguous() for name, tensor in candidate.model.state_dict().items()}
    # one metadata key only: safetensors keeps several in no fixed order
    return save(tensors, metadata={STRUCTURE_KEY: format_structure(candidate.structure)})


def _load_torch(path: Path) -> TorchCandidate:
    try:
        with safe_open(path, framework="pt") as archive:
            structure = parse_structure(archive.metadata()[STRUCTURE_KEY])
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ModelFileInvalid(
            f"{path.name} is not a readable safetensors file: {error}.", code="file_corrupt"
        ) from error
    model = build_network(structure)
    _check_tensors(model, tensors, path.name)
    model.load_state_dict(tensors, strict=True, assign=True)
    return TorchCandidate(model.eval(), structure)


def _check_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor], name: str) -> None:
    expected = model.state_dict()
    odd = sorted(set(expected) ^ set(tensors))
    odd += sorted(
        key
        for key in set(expected) & set(tensors)
        if expected[key].shape != tensors[key].shape or expected[key].dtype != tensors[key].dtype
    )
    if odd:
        raise ModelFileInvalid(
            f"The tensors of {name} are not those of its structure: {', '.join(odd[:5])} (missing, unknown, or of another "
            "shape or type).",
            code="tensors_mismatch",
            detail={"tensors": odd[:50]},
        )
    broken = sorted(key for key, tensor in tensors.items() if not torch.isfinite(tensor).all())
    if broken:
        raise ModelFileInvalid(
            f"{name} has NaN or infinite values in {', '.join(broken[:5])}: train the network again.",
            code="weights_not_finite",
        )


def _onnx_bytes(candidate: OnnxCandidate) -> bytes:
    model = onnx.ModelProto()
    model.CopyFrom(candidate.model)
    kept = [(item.key, item.value) for item in model.metadata_props if item.key not in (PLAN_KEY, HISTORY_KEY)]
    if candidate.plan is not None:
        kept.append((PLAN_KEY, json.dumps(candidate.plan, sort_keys=True, separators=(",", ":"))))
    if candidate.history:
        saved = [record.without_wall_time().model_dump(mode="json") for record in candidate.history]
        kept.append((HISTORY_KEY, json.dumps(saved, sort_keys=True, separators=(",", ":"))))
    del model.metadata_props[:]
    for key, value in kept:
        model.metadata_props.add(key=key, value=value)
    payload: bytes = model.SerializeToString(deterministic=True)
    return payload


def _load_onnx(path: Path) -> OnnxCandidate:
    model = read_onnx(path)
    properties = {item.key: item.value for item in model.metadata_props}
    try:
        plan = json.loads(properties[PLAN_KEY]) if PLAN_KEY in properties else None
        if plan is not None:
            parse_plan(plan)
        history = _HISTORY.validate_json(properties[HISTORY_KEY]) if HISTORY_KEY in properties else ()
    except ValueError as error:  # pydantic's ValidationError is one too
        raise ModelFileInvalid(
            f"{path.name} carries edgefleet metadata that is not valid: {error}.", code="structure_invalid"
        ) from error
    return OnnxCandidate(model, plan, history)
