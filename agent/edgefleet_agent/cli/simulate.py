import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Optional

from edgefleet_agent.cli.serve import EXIT_INTERRUPTED, EXIT_REFUSED, only_agent_in
from edgefleet_agent.errors import CredentialRefused, DrainRequested, SettingsInvalid, UpgradeNeeded
from edgefleet_agent.inventory import probe_runtimes
from edgefleet_agent.settings import state_directory
from edgefleet_agent.simulate.fleet import FleetPlan, Member, make_members, serve_fleet
from edgefleet_agent.simulate.measuring import make_board, simulate_table
from edgefleet_agent.simulate.operators import read_table
from edgefleet_agent.simulate.reporting import summarize_series

EXIT_FAILED = 1
FROM_STDIN = "-"


def simulate(options: argparse.Namespace) -> int:
    """Serve a controller with simulated boards, or print the simulated latency of one operator table."""
    if options.table is not None:
        return _print_table(options)
    logging.getLogger("edgefleet_agent").setLevel(logging.INFO)
    plan = FleetPlan(
        board=options.board,
        count=options.count,
        state=state_directory(options.state_dir, simulated=True),
        controller=options.controller,
        join_tokens=_tokens(options.join_tokens or ()),
        prefix=options.name,
        seed=options.seed,
        is_cooled=not options.without_fan,
        computes_accuracy=not options.without_accuracy,
        interpreters=() if options.without_accuracy else probe_runtimes({})[0],
    )
    members = make_members(plan)
    _handle_signals(members)
    try:
        serve_fleet(plan, members, max_runs=1 if options.once else None, hold=only_agent_in)
    except KeyboardInterrupt:
        print("edgefleet-agent: stopped at once; unfinished runs are left to their leases", file=sys.stderr)
        return EXIT_INTERRUPTED
    return _exit_status(members)


def _tokens(given: Sequence[str]) -> list[str]:
    if FROM_STDIN not in given:
        return list(given)
    read = [line.strip() for line in sys.stdin if line.strip()]
    return [token for token in given if token != FROM_STDIN] + read


def _handle_signals(members: Sequence[Member]) -> None:
    def on_signal(_number: int, _frame: Optional[FrameType]) -> None:
        if any(member.stop.is_set for member in members):
            raise KeyboardInterrupt
        for member in members:
            with suppress(DrainRequested):
                member.stop.request()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def _exit_status(members: Sequence[Member]) -> int:
    failed = [member for member in members if member.error is not None]
    for member in failed:
        code = getattr(member.error, "code", "internal")
        print("edgefleet-agent: {}: {}: {}".format(member.state.name, code, member.error), file=sys.stderr)
    if not failed:
        return 0
    refused = all(isinstance(member.error, (CredentialRefused, UpgradeNeeded)) for member in failed)
    return EXIT_REFUSED if refused else EXIT_FAILED


def _print_table(options: argparse.Namespace) -> int:
    table = read_table(options.table)
    board = make_board(options.board, options.seed, 1, is_cooled=not options.without_fan)
    try:
        undisturbed_ms, series = simulate_table(table, board)
    except ValueError as err:
        raise SettingsInvalid("{}: {}".format(options.board, err)) from err
    figures = summarize_series(series)
    if options.json is not None:
        document = {
            "provenance": "simulated",
            "board": options.board,
            "undisturbed_ms": undisturbed_ms,
            "p50_ms": figures.p50,
            "p90_ms": figures.p90,
            "n": figures.n,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    p50, p90, p99 = (
        "-" if value is None else "{:.4f}".format(value) for value in (figures.p50, figures.p90, figures.p99)
    )
    print("SIMULATED {} ({})".format(options.board, board.parameters.description))
    print("operators {}, {:.2f} M MACs, {}".format(len(table.operators), table.n_macs / 1e6, table.precision.value))
    print(
        "latency   {:.4f} ms undisturbed; p50 {} p90 {} p99 {} ms (n = {})".format(
            undisturbed_ms, p50, p90, p99, figures.n
        )
    )
    return 0
