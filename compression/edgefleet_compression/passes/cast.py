"""Floats of another type in the compiled file. The candidate stays float32; the compiler casts, last."""

from edgefleet_compression.candidate import Candidate, OnnxCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.onnx_plan import OnnxCast
from edgefleet_compression.onnx_stats import count_onnx_stats
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.quantize import refuse_graph_in_another_format
from edgefleet_compression.passes.specs import Cast
from edgefleet_compression.records import Cost, StepRecord
from edgefleet_compression.structure import Structure


@apply.register
def _(spec: Cast, candidate: Candidate, context: Context) -> Candidate:
    if isinstance(candidate, OnnxCandidate):
        return _attach_plan(spec, candidate, context)
    return apply_to_torch(
        spec, candidate, context, lambda model, structure: Outcome(model, _with_cast(spec, structure))
    )


def _with_cast(spec: Cast, structure: Structure) -> Structure:
    refuse_quantized(spec, structure, code="already_quantized")
    return structure.model_copy(update={"cast": spec.dtype})


def _attach_plan(spec: Cast, candidate: OnnxCandidate, context: Context) -> OnnxCandidate:
    refuse_graph_in_another_format(candidate)
    stats = count_onnx_stats(candidate.model)
    record = StepRecord(spec=spec, seed=context.seed, cost=Cost(wall_s=0.0), before=stats, after=stats)
    plan = OnnxCast(dtype=spec.dtype).model_dump(mode="json")
    return OnnxCandidate(candidate.model, plan, (*candidate.history, record))
