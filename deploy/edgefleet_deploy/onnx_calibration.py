"""Post-training int8 of a person's own ONNX graph with onnxruntime's quantizer: QDQ, per channel, MinMax."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgefleet_compression.passes.specs import ActivationFormat, Calibration, WeightFormat
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.samples import Samples

Array = NDArray[Any]
_BATCH = 32


class PlanCalibration(Calibration):
    """The samples a plan was made for."""

    source: Literal["train", "random"] = Field(description="train: the training split; random: standard-normal inputs.")
    seed: int = Field(ge=0, description="Seed of the choice of samples.")


class QuantizationPlan(BaseModel):
    """The post-training quantization that an ONNX candidate asks its compiler for (edgefleet.plan)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1] = Field(description="Version of this document.")
    method: Literal["post_training"] = Field(description="How scales are found.")
    weights: WeightFormat = Field(description="Format of the weights.")
    activations: ActivationFormat = Field(description="Format of the activations.")
    calibration: PlanCalibration = Field(description="Samples and observer.")


def read_plan(plan: Mapping[str, Any]) -> QuantizationPlan:
    """Return the quantization a candidate's plan asks for; CandidateRefused ``plan_invalid`` if it is not one."""
    try:
        return QuantizationPlan.model_validate(plan)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "plan"
        raise CandidateRefused(
            f"the candidate's quantization plan is not valid at {where}: {first['msg']}", code="plan_invalid"
        ) from err


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
    model: ModelProto, plan: QuantizationPlan, samples: Samples, *, fixed_batch: int | None, work_dir: Path
) -> ModelProto:
    """Return the graph with QuantizeLinear/DequantizeLinear pairs and int8 weights; opset 13 or newer is needed.

    Activations are uint8 (int8 where the plan says signed), weights symmetric int8 per output channel, biases int32.
    """
    path = work_dir / "quantized.onnx"
    try:
        quantize_static(
            model,
            path,
            _Batches(samples, fixed_batch or min(_BATCH, len(samples))),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if plan.activations.signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )
        return onnx.load(path)
    except (ValueError, KeyError, RuntimeError, AssertionError) as err:
        raise CandidateRefused(
            f"onnxruntime's quantizer cannot quantize this graph ({type(err).__name__}: {err}): use the baseline recipe",
            code="not_quantizable",
        ) from err
