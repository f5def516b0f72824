"""The ONNX compiler: torch networks and people's own ONNX graphs become lean files for onnxruntime."""

from dataclasses import replace

from edgefleet_compression.candidate import Candidate, TorchCandidate, Traits
from edgefleet_deploy.compiler import CompileContext, CompiledFile
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_formats import OLDEST_OPSET
from edgefleet_deploy.onnx_own import write_own
from edgefleet_deploy.onnx_session import OnnxSession
from edgefleet_deploy.onnx_torch import write_torch
from edgefleet_deploy.onnx_written import finish
from edgefleet_deploy.targets import Target


class OnnxCompiler:
    """Writes .onnx files."""

    runtime = "onnxruntime"

    def refuse(self, traits: Traits, target: Target) -> str | None:
        """Return why no candidate of these traits can be compiled for the target, or None."""
        if target.file_format != "onnx":
            return f"this compiler writes onnx files, target {target.name} takes {target.file_format}"
        if traits.precision not in target.precisions:
            return f"target {target.name} takes {', '.join(target.precisions)}, this candidate is {traits.precision}"
        oldest = OLDEST_OPSET[traits.precision]
        if target.opset < oldest:
            return f"{traits.precision} needs opset {oldest}, target {target.name} has {target.opset}"
        return None

    def compile(self, candidate: Candidate, context: CompileContext) -> CompiledFile:
        """Return the file with parity against the network (torch) or against the person's own graph (ONNX)."""
        reason = self.refuse(candidate.traits, context.target)
        if reason is not None:
            raise CandidateRefused(reason)
        context.progress(0.05, "writing the ONNX graph")
        if isinstance(candidate, TorchCandidate):
            written = write_torch(candidate, context)
        else:
            written = write_own(candidate, context)
        context.progress(0.6, "comparing the artifact with the candidate")
        compiled = finish(written, context)
        return replace(compiled, notes=merged_notes(compiled.notes, candidate))

    def open(self, payload: bytes, *, threads: int) -> OnnxSession:
        """Return the file, loaded under onnxruntime on this host."""
        return OnnxSession(payload, threads=threads)


def merged_notes(notes: tuple[str, ...], candidate: Candidate) -> tuple[str, ...]:
    """Return the notes with those of the passes that made the candidate, each once."""
    earlier = tuple(note for record in candidate.history for note in record.notes)
    return tuple(dict.fromkeys((*earlier, *notes)))
