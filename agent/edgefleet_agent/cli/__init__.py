"""``edgefleet-agent``: run the agent, measure, compare or profile local files, or look at this board."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from edgefleet_agent.errors import AgentError
from edgefleet_agent.settings import AGENT_VERSION
from edgefleet_agent.wire.log_lines import configure_logging

EXIT_FAILED = 1
BLOCKS_AB, BLOCKS_AA = 400, 180
"""Blocks of each side. On the recorded noise of the tests 3 % are found by 400 in 100 of 100 comparisons, by 180 in about
90; with 180 blocks of 20 ms a hundred A/A comparisons take less than 15 minutes."""

EXIT_REFUSED = 4
"""The controller refuses this board or this version; starting again changes nothing."""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point; returns the exit status: 0 done, 1 failed, 2 wrong usage, 4 refused by the controller, 75 start it again."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    wanted = getattr(options, "json", None)
    if isinstance(wanted, Path) and not wanted.absolute().parent.is_dir():
        parser.error("--json {}: there is no folder {}".format(wanted, wanted.absolute().parent))
    try:
        configure_logging(options.log_format, logging.INFO if options.verbose else logging.WARNING)
    except ValueError as err:
        parser.error("--log-format (or EDGEFLEET_LOG_FORMAT): {}".format(err))
    try:
        return int(options.command(options))
    except AgentError as err:
        print("edgefleet-agent: {}: {}".format(err.code, err), file=sys.stderr)
        return EXIT_FAILED
    except OSError as err:
        text = "edgefleet-agent: file_unusable: {}: {}; name a file or folder that this user may write"
        print(text.format(err.filename, err.strerror), file=sys.stderr)
        return EXIT_FAILED


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="edgefleet-agent", description="Runs and measures neural networks on a board."
    )
    parser.add_argument("--version", action="version", version="edgefleet-agent " + AGENT_VERSION)
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what the agent does")
    parser.add_argument(
        "--log-format",
        default=os.environ.get("EDGEFLEET_LOG_FORMAT", "text"),
        help="text for people or json for programs; default: $EDGEFLEET_LOG_FORMAT, else text",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_enrol(commands)
    _add_update(commands)
    _add_bench(commands)
    _add_comparisons(commands)
    _add_profile(commands)
    _add_doctor(commands)
    _add_simulate(commands)
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("run", help="serve a controller: take runs, measure them, report")
    _add_controller(parser)
    parser.add_argument("--once", action="store_true", help="end after one run")
    parser.set_defaults(command=_run)


def _add_enrol(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("enrol", help="make this board known to a controller, and end")
    _add_controller(parser)
    parser.set_defaults(command=_enrol)


def _add_controller(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--controller", metavar="URL", help="base address, such as http://controller:8000")
    parser.add_argument("--join-token", metavar="TOKEN", help="one-time token; needed for the first start only")
    parser.add_argument("--ca-file", metavar="PEM", help="the only authority to trust for the controller's certificate")
    parser.add_argument("--name", help="wanted name of this device")
    parser.add_argument("--state-dir", type=Path, help="folder for identity, cache and spool")
    _add_sensor(parser)


def _add_update(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "update", help="install a wheel of the agent beside this one; it is dropped if it does not check in"
    )
    parser.add_argument("wheel", type=Path, metavar="WHEEL", help="edgefleet_agent-VERSION-py3-none-any.whl")
    parser.add_argument("--sha256", help="its hash; another file is refused")
    parser.add_argument("--state-dir", type=Path, help="folder of the agent that is to be updated")
    parser.set_defaults(command=_update)


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("bench", help="measure one local file, without a controller")
    parser.add_argument("file", type=Path, metavar="FILE", help="the artifact, such as model.onnx")
    _add_artifact(parser)
    parser.add_argument("--seconds", type=float, default=6.0, help="least length of the timed part (default 6)")
    parser.add_argument("--warmup-seconds", type=float, default=1.0, help="least length of the warm-up (default 1)")
    parser.add_argument("--launches", type=int, default=1, help="process launches (default 1)")
    modes = ["back-to-back", "duty-cycle", "open-loop"]
    parser.add_argument("--mode", choices=modes, default=modes[0], help="when the next inference starts")
    parser.add_argument("--rate", type=float, metavar="N", help="inferences per second of the other two modes")
    parser.add_argument("--arrivals", choices=["poisson", "fixed"], default="poisson", help="of the open loop")
    parser.add_argument("--cool-down", type=float, metavar="DEGREES", help="wait until the board is this cool (C)")
    parser.add_argument("--cool-down-timeout", type=float, default=120.0, metavar="S", help="but not longer (120)")
    parser.add_argument("--evaluation", type=Path, metavar="NPZ", help="samples (x) and labels (y) to use and score")
    parser.add_argument("--golden", type=Path, metavar="NPZ", help="golden outputs to check before anything is timed")
    _add_sensor(parser)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the report here")
    parser.set_defaults(command=_bench)


def _add_artifact(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runtime", help="runtime to use (default: by the file's suffix)")
    parser.add_argument("--interpreter", help="Python interpreter that holds the runtime (default: found by asking)")
    parser.add_argument("--threads", type=int, default=1, help="threads within an operator (default 1)")
    parser.add_argument("--batch", type=int, default=1, help="samples per inference (default 1)")
    parser.add_argument("--provider", help="execution provider of onnxruntime (default: the CPU)")
    parser.add_argument("--delegate", help="delegate of a TFLite runtime (default: the runtime's own choice)")
    parser.add_argument("--seed", type=int, default=0, help="seed of random inputs and arrivals (default 0)")


def _add_comparisons(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    ab = commands.add_parser("ab", help="compare two artifacts in interleaved blocks")
    ab.add_argument("a", type=Path, metavar="A", help="the artifact to compare with")
    ab.add_argument("b", type=Path, metavar="B", help="the artifact to judge")
    ab.set_defaults(command=_ab)
    aa = commands.add_parser("aa", help="how often this board calls an artifact different from itself")
    aa.add_argument("file", type=Path, metavar="FILE", help="the artifact, such as model.onnx")
    aa.add_argument("--pairs", type=int, default=100, metavar="N", help="comparisons to make (default 100)")
    aa.set_defaults(command=_aa)
    for parser, n_blocks in ((ab, BLOCKS_AB), (aa, BLOCKS_AA)):
        _add_artifact(parser)
        blocks = "blocks of each side (default {})".format(n_blocks)
        parser.add_argument("--blocks", type=int, default=n_blocks, metavar="N", help=blocks)
        parser.add_argument(
            "--block-seconds", type=float, default=0.02, metavar="S", help="least length (default 0.02)"
        )
        parser.add_argument("--max-seconds", type=float, default=60.0, metavar="S", help="run no longer (default 60)")
        parser.add_argument("--json", type=Path, metavar="OUT", help="write the report here")


def _add_profile(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("profile", help="which operator takes how much, as a run of its own")
    parser.add_argument("file", type=Path, metavar="FILE", help="the artifact, such as model.onnx")
    _add_artifact(parser)
    parser.add_argument("--inferences", type=int, default=100, metavar="N", help="inferences to average (default 100)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the report here")
    parser.set_defaults(command=_profile)


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("doctor", help="say what this board can do and what stands in the way")
    parser.add_argument("--state-dir", type=Path, help="folder with the agent's settings")
    _add_sensor(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_doctor)


def _add_simulate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "simulate", help="stand in for boards you do not have; all figures are labelled simulated"
    )
    parser.add_argument(
        "--board",
        required=True,
        metavar="KIND",
        help="raspberry-pi-4, raspberry-pi-5, jetson-nano, coral-usb or coral-dev-board",
    )
    parser.add_argument("--count", type=int, default=1, help="number of boards (default 1)")
    parser.add_argument("--controller", metavar="URL", help="base address, such as http://controller:8000")
    parser.add_argument(
        "--join-token",
        dest="join_tokens",
        action="append",
        metavar="TOKEN",
        help="one-time token, one for each board at its first start; - reads them from standard input, one a line",
    )
    parser.add_argument("--name", help="names of the boards: NAME-1, NAME-2, ... (default: sim-KIND)")
    parser.add_argument("--state-dir", type=Path, help="folder for the boards' identities, caches and spools")
    parser.add_argument("--seed", type=int, default=0, help="seed of scatter and sensor errors (default 0)")
    parser.add_argument("--without-fan", action="store_true", help="boards without cooling, which throttle")
    parser.add_argument("--without-accuracy", action="store_true", help="do not compute accuracy on this host")
    parser.add_argument("--once", action="store_true", help="each board ends after one run")
    parser.add_argument(
        "--table", type=Path, metavar="JSON", help="no controller: simulate this manifest or operator table"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="with --table: write the figures here")
    parser.set_defaults(command=_simulate)


def _add_sensor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sensor",
        dest="sensors",
        action="append",
        metavar="SPEC",
        help="power sensor on I2C, such as ina226,bus=1,address=0x40,shunt=0.01; may be repeated",
    )


def _run(options: argparse.Namespace) -> int:
    from edgefleet_agent.cli.serve import serve

    return serve(options)


def _enrol(options: argparse.Namespace) -> int:
    from edgefleet_agent.cli.serve import enrol

    return enrol(options)


def _update(options: argparse.Namespace) -> int:
    from edgefleet_agent.cli.serve import update

    return update(options)


def _bench(options: argparse.Namespace) -> int:
    from edgefleet_agent.cli.bench import bench

    return bench(options)


def _ab(options: argparse.Namespace) -> int:
    from edgefleet_agent.cli.compare import compare

    return compare(options)


def _aa(options: argparse.Namespace) -> int:
    from edgefleet_agent.cli.compare import compare_with_itself

    return compare_with_itself(options)


def _profile(options: argparse.Namespace) -> int:
    from edgefleet_agent.cli.profile import profile

    return profile(options)


def _doctor(options: argparse.Namespace) -> int:
    from edgefleet_agent.cli.doctor import doctor

    return doctor(options)


def _simulate(options: argparse.Namespace) -> int:
    from edgefleet_agent.cli.simulate import simulate

    return simulate(options)
