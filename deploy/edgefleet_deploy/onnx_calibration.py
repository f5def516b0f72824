"""Post-training int8 of a person's own ONNX graph with onnxruntime's quantizer: QDQ, per channel, MinMax."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.onnx_plan import OnnxQuantization, PlanCalibration, parse_plan
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.samples import Samples

Array = NDArray[Any]
_BATCH = 32


@dataclass(frozen=True)
class StaticPlan:
    """What a plan of static activations says: which samples to observe, and the activations' sign."""

    calibration: PlanCalibration
    signed: bool


def static_plan(document: Mapping[str, Any]) -> StaticPlan:
    """Return the static quantization a candidate's plan asks for; CandidateRefused ``plan_invalid`` if it is not one."""
    try:
        plan = parse_plan(document)
    except ModelFileInvalid as err:
        raise CandidateRefused(err.message, code="plan_invalid") from err
    if not isinstance(plan, OnnxQuantization) or plan.calibration is None or plan.activations is None:
        raise CandidateRefused("the candidate's plan names no calibration for static activations", code="plan_invalid")
    return StaticPlan(plan.calibration, plan.activations.signed)


class _Batches(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no type information
    """Hands samples to the quantizer in batches of the size the file takes."""

    def __init__(self, samples: Samples, batch: int) -> None:
        self._batches: Iterator[dict[str, Array]] = _split(samples, batch)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)


def _split(samples: Samples, batch: int) -> Iterator[dict[str, Array]]:
    # whole batches only: a fixed batch cannot take a rest; wrap around so that few samples still make one batch
    n_batches = max(1, len(samples) // batch)
    for start in range(0, n_batches * batch, batch):
        indices = np.arange(start, start + batch) % len(samples)
        yield {name: value[indices] for name, value in samples.inputs.items()}


def quantize_graph(
    model: ModelProto, samples: Samples, *, signed: bool, fixed_batch: int | None, work_dir: Path
) -> ModelProto:
    """Return the graph with QuantizeLinear/DequantizeLinear pairs and int8 weights; opset 13 or newer is needed.

    Activations are uint8 (int8 where ``signed``), asymmetric; weights symmetric int8 per output channel, biases int32.
    """
    options = {"WeightSymmetric": True, "ActivationSymmetric": False}
    activations = QuantType.QInt8 if signed else QuantType.QUInt8
    return _run_quantizer(model, _batches(samples, fixed_batch), activations, options, work_dir)


def quantize_graph_symmetric(
    model: ModelProto, samples: Samples, *, fixed_batch: int | None, work_dir: Path
) -> ModelProto:
    """Return the graph as TensorRT wants it: int8 symmetric activations, float weights behind Q/DQ pairs, float biases."""
    options = {
        "WeightSymmetric": True,
        "ActivationSymmetric": True,
        "AddQDQPairToWeight": True,
        "QuantizeBias": False,
    }
    return _run_quantizer(model, _batches(samples, fixed_batch), QuantType.QInt8, options, work_dir)


def _batches(samples: Samples, fixed_batch: int | None) -> "_Batches":
    return _Batches(samples, fixed_batch or min(_BATCH, len(samples)))


def _run_quantizer(
    model: ModelProto, batches: "_Batches", activations: QuantType, options: Mapping[str, bool], work_dir: Path
) -> ModelProto:
    path = work_dir / "quantized.onnx"
    try:
        quantize_static(
            model,
            path,
            batches,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=activations,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=dict(options),
        )
        return onnx.load(path)
    except (ValueError, KeyError, RuntimeError, AssertionError) as err:
        raise CandidateRefused(
            f"onnxruntime's quantizer cannot quantize this graph ({type(err).__name__}: {err}): use the baseline recipe",
            code="not_quantizable",
        ) from err
