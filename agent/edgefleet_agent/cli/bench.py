import argparse
import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from pydantic import ValidationError

from edgefleet_agent.cli.energy import best_meter, usable_sensors
from edgefleet_agent.errors import MeasurementFailed, SettingsInvalid
from edgefleet_agent.inventory import probe_runtimes
from edgefleet_agent.measure.artifact import Bench, Subject, failed_report, measure_artifact
from edgefleet_agent.measure.emulation import as_emulated, find_emulator
from edgefleet_agent.measure.runtimes import RUNTIMES, runtime_for_file, runtime_named
from edgefleet_agent.settings import default_state_directory, load_settings
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import BlobRef, LatencySummary, RunReport

READ_BYTES = 1024 * 1024
MIB = 1024 * 1024
EXIT_FAILED = 1
NO_ARTIFACT = BlobRef(sha256=hashlib.sha256(b"").hexdigest(), size_bytes=0)
"""Stands in the report of a file that can't be read."""


def bench(options: argparse.Namespace) -> int:
    """Measure one file and print a summary; 0 whatever the verdict, 1 with a coded reason when it can't be measured."""
    artifact = NO_ARTIFACT
    try:
        artifact = hash_file(options.file)
        settings = load_settings(default_state_directory(), {"sensors": options.sensors})
        meter = best_meter(usable_sensors(settings.sensors))
        report = measure_artifact(_subject(options, artifact), Bench(meter=meter, on_phase=_show_phase)).report
        report = as_emulated(report) if settings.emulated or find_emulator() else report
    except MeasurementFailed as failure:
        report = failed_report(artifact, failure.error)
    if options.json is not None:
        options.json.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if report.error is not None:
        print("edgefleet-agent: {}: {}".format(report.error.code.value, report.error.message), file=sys.stderr)
        return EXIT_FAILED
    print(summary_text(options.file, report))
    return 0


def hash_file(path: Path) -> BlobRef:
    """Content address of a file; raises MeasurementFailed(artifact_missing)."""
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with path.open("rb") as handle:
            for chunk in iter(lambda: handle.read(READ_BYTES), b""):
                digest.update(chunk)
                size_bytes += len(chunk)
    except OSError as err:
        raise MeasurementFailed(
            ErrorCode.ARTIFACT_MISSING, "{} can't be read ({}); name an existing file".format(path, err.strerror)
        ) from err
    return BlobRef(sha256=digest.hexdigest(), size_bytes=size_bytes)


def _subject(options: argparse.Namespace, artifact: BlobRef) -> Subject:
    if options.evaluation is not None and not options.evaluation.is_file():
        raise MeasurementFailed(
            ErrorCode.EVALUATION_DATA_INVALID, "{} is no file; name an existing npz file".format(options.evaluation)
        )
    if options.golden is not None and not options.golden.is_file():
        raise MeasurementFailed(
            ErrorCode.GOLDEN_DATA_INVALID, "{} is no file; name the golden.npz of this artifact".format(options.golden)
        )
    subject = subject_of(options.file, artifact, _settings(options), options)
    return replace(subject, evaluation_path=options.evaluation, golden_path=options.golden)


def subject_of(path: Path, artifact: BlobRef, settings: MeasureSettings, options: argparse.Namespace) -> Subject:
    """What to measure on one file: the options' runtime and interpreter, or those found for the file."""
    runtime = _runtime_name(path, options.runtime)
    interpreter = options.interpreter or _find_interpreter(runtime)
    return Subject(path=path, artifact=artifact, runtime=runtime, settings=settings, interpreter=interpreter)


def _runtime_name(path: Path, named: Optional[str]) -> str:
    if named is not None:
        return runtime_named(named).name
    runtime = runtime_for_file(path)
    if runtime is None:
        known = ", ".join(sorted(suffix for item in RUNTIMES.values() for suffix in item.suffixes))
        raise MeasurementFailed(
            ErrorCode.UNKNOWN_RUNTIME,
            "no runtime is known for {!r} files (known: {}); name one with --runtime".format(path.suffix, known),
        )
    return runtime.name


def _settings(options: argparse.Namespace) -> MeasureSettings:
    return make_settings(
        threads=options.threads,
        batch=options.batch,
        provider=options.provider,
        delegate=options.delegate,
        seconds=options.seconds,
        max_seconds=max(60.0, options.seconds),
        deadline_s=max(600.0, options.launches * (2 * options.seconds + 300.0) + options.cool_down_timeout),
        warmup_seconds=options.warmup_seconds,
        seed=options.seed,
        launches=options.launches,
        mode=options.mode.replace("-", "_"),
        rate_per_s=options.rate,
        arrivals=options.arrivals,
        cool_down_c=options.cool_down,
        cool_down_timeout_s=options.cool_down_timeout,
    )


def make_settings(**values: Any) -> MeasureSettings:
    """Checked settings; raises SettingsInvalid with the option that makes no sense."""
    try:
        return MeasureSettings(**values)
    except ValidationError as err:
        first = err.errors()[0]
        option = "--{}: ".format(str(first["loc"][0]).replace("_", "-")) if first["loc"] else ""
        raise SettingsInvalid("{}{}".format(option, first["msg"])) from err


def _find_interpreter(runtime: str) -> str:
    """The pinned or probed interpreter; raises MeasurementFailed(runtime_unavailable) with what each one answered."""
    pinned = load_settings(default_state_directory(), {}).interpreters
    if runtime in pinned:
        return pinned[runtime]
    found, failures = probe_runtimes({}, {runtime: RUNTIMES[runtime]})
    if not found:
        raise MeasurementFailed(
            ErrorCode.RUNTIME_UNAVAILABLE,
            "no interpreter holds {} ({}); install it, or name one with --interpreter".format(
                runtime, "; ".join("{}: {}".format(item.interpreter, item.message) for item in failures)
            ),
        )
    return found[0].interpreter


def _show_phase(phase: str, silent_for_s: float) -> None:
    if sys.stderr.isatty():
        note = ", quiet for {:.0f} s".format(silent_for_s) if silent_for_s else ""
        print("  {}{}".format(phase, note), file=sys.stderr)


def summary_text(path: Path, report: RunReport) -> str:
    """The report for a person."""
    environment = report.environment
    runtime = environment.runtime if environment is not None else {}
    lines = [
        "{}  {:.1f} kB  sha256 {}".format(path.name, report.artifact.size_bytes / 1e3, report.artifact.sha256[:12]),
        "runtime   {} {} (Python {})".format(runtime.get("name"), runtime.get("version"), runtime.get("python")),
        *_latency_lines(report),
        *_load_lines(report),
        *_memory_lines(report),
        *_accuracy_lines(report),
        *_check_lines(report),
        "energy    {}".format(_energy_text(report)),
        "verdict   {}{}".format(
            report.verdict.status.value, "".join(" " + reason.value for reason in report.verdict.reasons)
        ),
    ]
    return "\n".join(lines)


def _latency_lines(report: RunReport) -> list[str]:
    latency = report.latency_ms
    if latency is None:
        return []
    parts = [
        _percentile_text(name, getattr(latency, name), latency.intervals.get(name)) for name in ("p50", "p90", "p99")
    ]
    first = "latency   {}  (n = {})".format(parts[0], latency.n)
    return [first, *("          " + part for part in parts[1:]), *_launch_lines(latency), *_outlier_lines(latency)]


def _launch_lines(latency: LatencySummary) -> list[str]:
    lines = []
    if latency.throughput_per_s is not None:
        lines.append("          {:.1f} samples per second".format(latency.throughput_per_s))
    if latency.launch_intervals:
        text = "          p50 over {} launches [{:.4f}, {:.4f}] ms (95 %)"
        lines.append(text.format(latency.n_launches, *latency.launch_intervals["p50"]))
    return lines


def _outlier_lines(latency: LatencySummary) -> list[str]:
    if not latency.n_outliers:
        return []
    causes = ", ".join("{} {}".format(count, name) for name, count in sorted(latency.outlier_causes.items()))
    return ["outliers  {} ({})".format(latency.n_outliers, causes)]


def _percentile_text(name: str, value: Optional[float], interval: Optional[tuple[float, float]]) -> str:
    if value is None:
        return "{} - (too few samples)".format(name)
    bounds = " [{:.4f}, {:.4f}]".format(*interval) if interval else ""
    return "{} {:.4f} ms{}".format(name, value, bounds)


def _load_lines(report: RunReport) -> list[str]:
    load = report.load
    if load is None or load.load_ms is None or load.first_inference_ms is None:
        return []
    warm = "" if load.warm_load_ms is None else " (again, warm: {:.1f} ms)".format(load.warm_load_ms)
    return ["load      {:.1f} ms{}, first inference {:.3f} ms".format(load.load_ms, warm, load.first_inference_ms)]


def _memory_lines(report: RunReport) -> list[str]:
    peak = report.memory.peak_memory_bytes if report.memory is not None else None
    return ["memory    peak {}".format("unknown" if peak is None else "{:.1f} MiB".format(peak / MIB))]


def _accuracy_lines(report: RunReport) -> list[str]:
    accuracy = report.accuracy
    if accuracy is None or accuracy.value is None or accuracy.interval is None:
        return []
    text = "accuracy  {:.4f} [{:.4f}, {:.4f}] of {} samples"
    return [text.format(accuracy.value, accuracy.interval[0], accuracy.interval[1], accuracy.n)]


def _check_lines(report: RunReport) -> list[str]:
    """Golden outputs and placement, where known."""
    golden, placement = report.golden, report.placement
    lines = []
    if golden is not None:
        figures = ", ".join("{} {}".format(row.name, _decibel(row.snr_db)) for row in golden.outputs)
        lines.append("golden    passed on {} samples ({})".format(golden.n_samples, figures))
    if placement is not None and placement.shares:
        shares = ", ".join("{} {:.1%}".format(name, share) for name, share in placement.shares.items())
        lines.append("placement {} of the {}".format(shares, placement.basis))
    return lines


def _decibel(value: Optional[float]) -> str:
    return "exact" if value is None else "{:.1f} dB".format(value)


def _energy_text(report: RunReport) -> str:
    energy = report.energy
    if energy is None or energy.value_mj is None:
        reason = energy.reason.value if energy is not None and energy.reason is not None else "not_measured"
        return "- ({})".format(reason)
    return "{:.3f} mJ per inference ({})".format(energy.value_mj, energy.scope)
