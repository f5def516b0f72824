"""Build the torch network of an ONNX candidate, and compare the two before anything works on it."""

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from edgefleet_compression.candidate import OnnxCandidate, TorchCandidate
from edgefleet_compression.conversion.importer import ImportedGraph, import_graph
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import random_input
from edgefleet_compression.layers import read_layers
from edgefleet_compression.models.onnx_graph import build
from edgefleet_compression.models.specs import ONNX_GRAPH
from edgefleet_compression.structure import InputSpec, Structure, TaskSpec

CONVERTED: Final = "converted_from_onnx"
"""Note: the recipe worked on the torch form of the ONNX file, whose outputs were compared with onnxruntime's."""

SOFTMAX_REMOVED: Final = "final_softmax_removed"
"""Note: the file ended in a Softmax; the candidate gives the scores before it. The order of the classes is the same."""

PARITY_SAMPLES: Final = 4
PARITY_TOLERANCE: Final = 1e-4
"""Largest difference allowed, as a share of the largest output: float32 sums in another order."""

SMALLEST_SCALE: Final = 1e-6
"""Outputs below it are zeros."""


@dataclass(frozen=True)
class Conversion:
    """The candidate as a torch network."""

    candidate: TorchCandidate
    difference: float
    """Largest difference from onnxruntime's outputs on random inputs, as a share of the largest output."""
    notes: tuple[str, ...]


def convert_onnx(candidate: OnnxCandidate) -> Conversion:
    """Return the torch form of a person's graph.

    Raises PassRefused ``needs_torch_model`` with ``detail.obstacles`` if there is none, ``conversion_differs`` if its
    outputs are not the file's.
    """
    if candidate.plan is not None:
        raise PassRefused(
            "The ONNX graph is to be stored in another number format already: give the float model instead.",
            code="already_quantized",
        )
    imported = import_graph(candidate.model)
    model = build(imported.arguments)
    model.load_state_dict(
        {name: torch.from_numpy(np.array(array)) for name, array in imported.tensors.items()}, strict=True
    )
    structure = Structure(
        architecture=ONNX_GRAPH,
        arguments=imported.arguments.model_dump(mode="json"),
        layers=read_layers(model),
        input=InputSpec(
            name=_identifier(imported.input_name),
            shape=imported.arguments.sample_shape,
            dtype=imported.arguments.sample_type,
            n_values=imported.arguments.vocabulary,
        ),
        task=TaskSpec(n_classes=imported.arguments.n_classes),
        history=candidate.history,
    )
    converted = TorchCandidate(model.eval(), structure)
    difference = _compare(candidate.model, converted, imported)
    notes = (CONVERTED, SOFTMAX_REMOVED) if imported.has_softmax_removed else (CONVERTED,)
    return Conversion(converted, difference, notes)


def _identifier(name: str) -> str:
    """Return an input name that every compiler takes: letters, digits and underscores."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)[:60]
    return plain if re.match(r"[A-Za-z_]", plain) else f"input_{plain}"


def _compare(model: onnx.ModelProto, converted: TorchCandidate, imported: ImportedGraph) -> float:
    generator = torch.Generator().manual_seed(0)
    x = random_input(converted.structure.input, n_samples=PARITY_SAMPLES, generator=generator)
    try:
        with torch.no_grad():
            found = converted.model(x)
            found = torch.softmax(found, dim=1) if imported.has_softmax_removed else found
            singly = torch.cat([converted.model(sample) for sample in torch.split(x, 1)])
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise _differs(f"torch does not run it: {str(error)[:300]}") from error
    if singly.shape != found.shape:
        raise _differs(f"one sample gives outputs of another shape ({list(singly.shape)}) than several")
    wanted = _outputs(model, imported.input_name, x.numpy())
    scale = max(SMALLEST_SCALE, float(np.abs(wanted).max()))
    difference = float(np.abs(found.numpy() - wanted).max()) / scale if found.shape == wanted.shape else float("inf")
    if not difference <= PARITY_TOLERANCE:
        raise _differs(f"its outputs differ from onnxruntime's by {difference:.2g} of the largest")
    return difference


def _outputs(model: onnx.ModelProto, name: str, x: NDArray[Any]) -> NDArray[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        is_single = session.get_inputs()[0].shape[0] == 1
        batches = np.split(x, len(x)) if is_single else [x]
        return np.concatenate([np.asarray(session.run(None, {name: batch})[0]) for batch in batches])
    except Exception as error:  # onnxruntime's errors have no common class of their own
        raise _differs(f"onnxruntime does not run it: {str(error)[:300]}") from error


def _differs(what: str) -> PassRefused:
    return PassRefused(
        f"The torch form of the ONNX graph is not used: {what}. Tolerance {PARITY_TOLERANCE:g}. Give the network as "
        "safetensors, or choose a recipe of quantize or cast alone, which take the file as it is.",
        code="conversion_differs",
    )
