"""Several worker processes on one PostgreSQL store: who takes what, who takes over, and what stops when asked to."""

import os
import signal
from typing import TYPE_CHECKING

from edgefleet_controller.db.tables import Run, Variant

if TYPE_CHECKING:
    from tests.integration.engine.conftest import Site


def test_the_work_of_a_killed_worker_is_finished_by_the_other_and_nothing_is_done_twice(site: "Site") -> None:
    """kill -9 in mid-compress of the second recipe: the first candidate was made, and is not made again."""
    site.open_gate("prepare_data", "compress")
    first = site.start_worker("first")
    site.wait_until(lambda: site.worker_state("first") == "active", "the first worker")
    done = site.submit("baseline")
    site.wait_until(lambda: site.executions("compile"), "the compilation of what was compressed")
    site.close_gate("compress")
    job_id = site.submit("int8")
    site.wait_until(lambda: len(site.executions("compress")) == 2, "the second compression")
    site.start_worker("second")
    site.wait_until(lambda: site.worker_state("second") == "active", "the second worker")

    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    site.wait_until(
        lambda: not [p for p in site.children() if p.pid in {e["pid"] for e in site.executions("compress")}],
        "the end of the killed worker's child",
    )
    site.open_gate("compress", "compile")

    site.wait_until(lambda: site.states(job_id)[1] == site.states(done)[1] == ["dispatched"], "both jobs at the boards")
    assert site.worker_state("first") == "dead"
    recipes = [entry["recipe"] for entry in site.executions("compress")]
    assert recipes == ["baseline", "int8", "int8"]  # the interrupted one once more, the finished one not
    assert len(site.executions("prepare_data")) == 1
    assert len(site.rows(Run)) == 2
    assert {row.compression_cached for row in site.rows(Variant)} == {False}
    site.wait_until(lambda: not site.children(), "no child of anybody")
