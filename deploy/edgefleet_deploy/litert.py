"""The LiteRT compiler: torch networks become lean .tflite files for LiteRT and for its predecessor tflite-runtime.

Importing this module needs none of the extra ``tflite``'s packages and takes no time; compiling does both.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from edgefleet_compression.candidate import Candidate, TorchCandidate, Traits
from edgefleet_compression.precision import Precision
from edgefleet_deploy.compiler import CompileContext, CompiledFile
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.litert_tools import require_tools
from edgefleet_deploy.targets import Target

if TYPE_CHECKING:
    from edgefleet_deploy.litert_session import LitertSession

WRONG_UNDER_TFLITE_RUNTIME: Mapping[Precision, str] = {
    "int8-dynamic": "it computes garbage without an error (0 dB where LiteRT gives 40 dB)",
    "int4-weights": "it knows no 4-bit tensors: it refuses the file, crashes or answers NaN",
}
"""What tflite-runtime 2.11 and 2.14 were seen to do with files that LiteRT computes rightly (docs/litert.md)."""


class LitertCompiler:
    """Writes .tflite files."""

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime

    def refuse(self, traits: Traits, target: Target) -> str | None:
        """Return why no candidate of these traits can be compiled for the target, or None."""
        if target.file_format != "tflite":
            return f"this compiler writes tflite files, target {target.name} takes {target.file_format}"
        if traits.form != "torch":
            return (
                "an ONNX graph cannot become a tflite file: no converter works beside this version of torch; give the "
                "model as a network of the zoo, or choose an onnxruntime target"
            )
        wrong = WRONG_UNDER_TFLITE_RUNTIME.get(traits.precision) if target.runtime == "tflite-runtime" else None
        if wrong is not None:
            return f"tflite-runtime cannot run {traits.precision} files: {wrong}; choose target litert"
        if traits.precision not in target.precisions:
            return f"target {target.name} takes {', '.join(target.precisions)}, this candidate is {traits.precision}"
        return None

    def compile(self, candidate: Candidate, context: CompileContext) -> CompiledFile:
        """Return the file with parity against the network, run under LiteRT on this host."""
        reason = self.refuse(candidate.traits, context.target)
        if reason is not None:
            raise CandidateRefused(reason)
        assert isinstance(candidate, TorchCandidate)
        _refuse_mixed_bits(candidate)
        require_tools()
        from edgefleet_deploy.litert_build import build  # takes 8 to 14 s: it loads the converter

        compiled = build(candidate, context)
        earlier = tuple(note for record in candidate.history for note in record.notes)
        return replace(compiled, notes=tuple(dict.fromkeys((*earlier, *compiled.notes))))

    def open(self, payload: bytes, *, threads: int) -> "LitertSession":
        """Return the file, loaded under LiteRT on this host, whichever of the two runtimes it is for."""
        require_tools("ai_edge_litert")
        from edgefleet_deploy.litert_session import LitertSession  # needs the extra

        return LitertSession(payload, threads=threads)


def _refuse_mixed_bits(candidate: TorchCandidate) -> None:
    plan = candidate.structure.quantization
    if plan is not None and plan.layer_bits:
        raise CandidateRefused(
            "LiteRT's tool rounds all layers to one precision, and this candidate has different bits by layer or channel: "
            "choose the target onnxruntime-current, or leave allocation and hybrid out",
            code="mixed_bits_unsupported",
        )
