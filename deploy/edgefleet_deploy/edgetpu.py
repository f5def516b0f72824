"""The Edge TPU compiler: the LiteRT compiler's int8 file, checked, then handed to the vendor's edgetpu_compiler."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from edgefleet_deploy.compiler import CompileContext, CompiledFile, Compiler, LoadedFile, compiler_for
from edgefleet_deploy.edgetpu_checker import EdgeTpuReport, check_edgetpu
from edgefleet_deploy.edgetpu_log import CompilerLog
from edgefleet_deploy.edgetpu_model import read_tflite
from edgefleet_deploy.edgetpu_rules import PER_CHANNEL_CAUTION
from edgefleet_deploy.edgetpu_tool import COMPILE_TIMEOUT_S, find_tool, run_tool
from edgefleet_deploy.errors import CandidateRefused, CompilerUnavailable, FileUnusable
from edgefleet_deploy.manifest import EdgeTpuPlacement
from edgefleet_deploy.targets import Target, get_target

if TYPE_CHECKING:  # this loads torch
    from edgefleet_compression.candidate import Candidate, Traits

FILE_FORMAT = "edgetpu"
PLAIN_TARGET = "litert"
"""Target whose int8 file is compiled further."""


class EdgeTpuCompiler:
    """Writes .edgetpu.tflite files.

    plain_compiler: makes the compiler of the .tflite file (by target); tests give their own.
    """

    runtime = "edgetpu"

    def __init__(
        self, *, plain_compiler: Callable[[Target], Compiler] = compiler_for, timeout_s: float = COMPILE_TIMEOUT_S
    ) -> None:
        self._plain_compiler = plain_compiler
        self._timeout_s = timeout_s

    def refuse(self, traits: "Traits", target: Target) -> str | None:
        """Return why no candidate of these traits can be compiled for the target, or None; costs nothing."""
        if target.file_format != FILE_FORMAT:
            return f"this compiler writes {FILE_FORMAT} files, target {target.name} takes {target.file_format}"
        if traits.precision not in target.precisions:
            return (
                f"the Edge TPU computes int8 with ranges found beforehand only, this candidate is {traits.precision}: "
                "quantize weights and activations to 8 bits, static (preset int8)"
            )
        plain_target = get_target(PLAIN_TARGET)
        return self._plain_compiler(plain_target).refuse(traits, plain_target)

    def compile(self, candidate: "Candidate", context: CompileContext) -> CompiledFile:
        """Return the compiled file; parity and golden outputs are those of the .tflite file that it was made from.

        Raises CandidateRefused ``not_mappable`` before the vendor's compiler runs where nothing would map, and
        CompilerUnavailable with the checker's report where that compiler is not installed.
        """
        reason = self.refuse(candidate.traits, context.target)
        if reason is not None:
            raise CandidateRefused(reason)
        plain = self._compile_plain(candidate, context)
        context.progress(0.7, "checking which operators map to the Edge TPU")
        report = check_edgetpu(plain.payload)
        refuse_unmappable(report)
        return self._compile_further(plain, report, context)

    def _compile_plain(self, candidate: "Candidate", context: CompileContext) -> CompiledFile:
        work_dir = context.work_dir / "plain"
        work_dir.mkdir()
        target = get_target(PLAIN_TARGET)
        progress = context.progress
        inner = replace(
            context, target=target, work_dir=work_dir, progress=lambda share, text: progress(0.7 * share, text)
        )
        return self._plain_compiler(target).compile(candidate, inner)

    def _compile_further(self, plain: CompiledFile, report: EdgeTpuReport, context: CompileContext) -> CompiledFile:
        try:
            tool = find_tool()
        except CompilerUnavailable as err:
            raise CompilerUnavailable(err.message, detail={"report": report.as_json()}) from err
        context.progress(0.75, "compiling for the Edge TPU")
        work_dir = context.work_dir / "edgetpu"
        work_dir.mkdir()
        compiled = run_tool(
            tool,
            plain.payload,
            work_dir=work_dir,
            min_runtime_version=context.target.min_version,
            timeout_s=self._timeout_s,
        )
        return replace(
            plain,
            payload=compiled.payload,
            host_payload=plain.payload,
            min_runtime_version=context.target.min_version,
            tool_versions={**plain.tool_versions, "edgetpu_compiler": compiled.log.version or "unknown"},
            edgetpu=_placement(compiled.log, report),
            notes=(*plain.notes, "parity_before_edgetpu_compiler", *_notes(compiled.log, report)),
        )

    def open(self, payload: bytes, *, threads: int) -> LoadedFile:
        """Return the .tflite file before the vendor's compiler, loaded; FileUnusable for a compiled one."""
        if read_tflite(payload).n_compiled_parts:
            raise FileUnusable(
                "a file compiled for the Edge TPU runs on a board with one only; open CompiledFile.host_payload here",
                code="device_only",
            )
        return self._plain_compiler(get_target(PLAIN_TARGET)).open(payload, threads=threads)


def refuse_unmappable(report: EdgeTpuReport) -> None:
    """Raise CandidateRefused ``not_mappable`` where no operator would run on the Edge TPU."""
    if report.n_mapped == 0:
        raise CandidateRefused(
            f"no operator of this network would run on an Edge TPU: {report.reasons[0]}; change the operators named in "
            "the report, or choose the target litert",
            code="not_mappable",
            detail={"report": report.as_json()},
        )


def agrees(log: CompilerLog, report: EdgeTpuReport) -> bool:
    """Whether the compiler mapped as many operators as the checker expected; so, too, where it does not say."""
    return log.n_mapped in (None, report.n_mapped)


def _placement(log: CompilerLog, report: EdgeTpuReport) -> EdgeTpuPlacement:
    return EdgeTpuPlacement(
        compiler_version=log.version,
        n_mapped=log.n_mapped,
        n_cpu=log.n_cpu,
        n_subgraphs=log.n_subgraphs,
        on_chip_used_bytes=log.on_chip_used_bytes,
        on_chip_remaining_bytes=log.on_chip_remaining_bytes,
        off_chip_bytes=log.off_chip_bytes,
        operators=log.operators,
        macs_share=report.macs_share if agrees(log, report) else None,
        expected_mapped=report.mapped,
    )


def _notes(log: CompilerLog, report: EdgeTpuReport) -> tuple[str, ...]:
    """Return those that hold: ``edgetpu_partly_mapped``, ``edgetpu_streams_parameters`` (beyond the chip's memory),
    ``edgetpu_mapped_otherwise`` (than the checker expected), ``edgetpu_dense_per_channel`` (rules.PER_CHANNEL_CAUTION).
    """
    found = {
        "edgetpu_partly_mapped": bool(log.n_cpu),
        "edgetpu_streams_parameters": bool(log.off_chip_bytes),
        "edgetpu_mapped_otherwise": not agrees(log, report),
        "edgetpu_dense_per_channel": any(PER_CHANNEL_CAUTION in verdict.warnings for verdict in report.operators),
    }
    return tuple(note for note, holds in found.items() if holds)
