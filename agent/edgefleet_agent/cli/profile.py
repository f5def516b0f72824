import argparse
from pathlib import Path

from edgefleet_agent.cli.bench import hash_file, make_settings, subject_of
from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.measure.profiled import ProfileReport, profile_artifact
from edgefleet_agent.measure.subject import Bench

N_SHOWN = 10


def profile(options: argparse.Namespace) -> int:
    """Profile one file and print its slowest operators. Raises MeasurementFailed where it can't run."""
    if options.inferences < 1:
        raise SettingsInvalid("--inferences: profile at least one inference")
    settings = make_settings(threads=options.threads, batch=options.batch, seed=options.seed, warmup_seconds=0.2)
    subject = subject_of(options.file, hash_file(options.file), settings, options)
    report = profile_artifact(subject, Bench(), options.inferences)
    if options.json is not None:
        options.json.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    print(profile_text(options.file, report))
    return 0


def profile_text(path: Path, report: ProfileReport) -> str:
    """The profile for a person: kinds of operators, the longest first."""
    head = "{}: time per operator over {} inferences, under the profiler (shares, not latencies)"
    lines = [head.format(path.name, report.n_inferences)]
    for row in report.operators[:N_SHOWN]:
        text = "{:6.1%}  {:10.1f} us  {:3d} x {} ({})"
        lines.append(text.format(row.share, row.time_us, row.n_nodes, row.operator, row.provider))
    return "\n".join(lines)
