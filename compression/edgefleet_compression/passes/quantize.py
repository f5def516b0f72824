"""Post-training quantization. Static activations: scales from calibration samples, which the compiler folds to integers,
last. Other formats: the candidate stays float and says which one the compiler is to write.
"""

from typing import Final, Literal

from torch import nn

from edgefleet_compression.candidate import Candidate, OnnxCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import as_tensor
from edgefleet_compression.onnx_plan import OnnxQuantization, PlanCalibration
from edgefleet_compression.onnx_stats import count_onnx_stats
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.specs import Quantize
from edgefleet_compression.quantization.calibration import calibrate_, calibration_samples, reestimate_batchnorm_
from edgefleet_compression.quantization.graph import fold_batchnorm, insert_fake_quant_, list_points, snap_biases_
from edgefleet_compression.quantization.modules import settle_weights_
from edgefleet_compression.records import Cost, StepRecord
from edgefleet_compression.structure import QuantizationPlan, Structure

CALIBRATION_RANDOM: Final = "calibration_random"
"""Note: there was no data set, so ranges were found on random inputs; accuracy can suffer."""


BATCHNORM_REESTIMATED: Final = "batchnorm_reestimated"
"""Note: BatchNorm's means and variances are those of the training split under the present weights."""


@apply.register
def _(spec: Quantize, candidate: Candidate, context: Context) -> Candidate:
    if isinstance(candidate, OnnxCandidate):
        return _attach_plan(spec, candidate, context)
    return apply_to_torch(spec, candidate, context, lambda model, structure: _quantize(spec, model, structure, context))


def _quantize(spec: Quantize, model: nn.Module, structure: Structure, context: Context) -> Outcome:
    refuse_quantized(spec, structure, code="already_quantized")
    plan = QuantizationPlan(method="post_training", weights=spec.weights, activations=spec.activations)
    if not plan.is_simulated:
        return Outcome(model=model, structure=structure.model_copy(update={"quantization": plan}))
    notes: tuple[str, ...] = ()
    if context.data is not None and reestimate_batchnorm_(model, as_tensor(context.data.train.x)):
        notes = (BATCHNORM_REESTIMATED,)
    graph_module = fold_batchnorm(model)
    skipped = insert_fake_quant_(graph_module, spec.weights, spec.activations)
    settle_weights_(graph_module)
    n_samples = 0
    if spec.activations is not None:
        samples = calibration_samples(
            context.data, structure.input, n_samples=spec.calibration.n_samples, seed=context.seed
        )
        calibrate_(graph_module, samples, spec.calibration)
        snap_biases_(graph_module)
        n_samples = len(samples)
        notes += (CALIBRATION_RANDOM,) if context.data is None else ()
    plan = plan.model_copy(update={"points": tuple(list_points(graph_module))})
    return Outcome(
        model=graph_module,
        structure=structure.model_copy(update={"quantization": plan}),
        samples=n_samples,
        skipped=skipped,
        notes=notes,
    )


def _attach_plan(spec: Quantize, candidate: OnnxCandidate, context: Context) -> OnnxCandidate:
    refuse_graph_in_another_format(candidate)
    _refuse_torch_only(spec)
    stats = count_onnx_stats(candidate.model)
    is_calibrated = spec.precision == "int8"
    source: Literal["train", "random"] = "random" if context.data is None else "train"
    calibration = PlanCalibration(n_samples=spec.calibration.n_samples, source=source, seed=context.seed)
    plan = OnnxQuantization(
        weights=spec.weights, activations=spec.activations, calibration=calibration if is_calibrated else None
    )
    notes = (CALIBRATION_RANDOM,) if is_calibrated and context.data is None else ()
    record = StepRecord(spec=spec, seed=context.seed, cost=Cost(wall_s=0.0), before=stats, after=stats, notes=notes)
    return OnnxCandidate(candidate.model, plan.model_dump(mode="json"), (*candidate.history, record))


def _refuse_torch_only(spec: Quantize) -> None:
    if spec.needs_torch:
        raise PassRefused(
            "An ONNX graph is quantized by the compiler's own tool: weights of 8 or 4 bits with a peak scale per channel, "
            "asymmetric 8 bit activations, observer minmax, nearest rounding. Leave the other fields at their "
            "defaults, or give the network as safetensors.",
            code="needs_torch_model",
            detail={"kind": spec.kind},
        )


def refuse_graph_in_another_format(candidate: OnnxCandidate) -> None:
    """Raise PassRefused ``already_quantized`` unless the person's graph is a float32 one without a plan."""
    if candidate.traits.precision != "fp32":
        raise PassRefused(
            f"The ONNX graph is {candidate.traits.precision} already: compress it with the baseline recipe, or give the "
            "float model.",
            code="already_quantized",
        )
