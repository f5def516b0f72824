"""Five rows of the table carried out again from nothing, to see whether it still says what is so."""

import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.compression_rows.carrying_out import Workshop
from tests.benchmarks.compression_rows.store import Store
from tests.benchmarks.search_rows.carrying_out import Grid, in_order_of_work
from tests.benchmarks.search_rows.table import Table

from edgefleet_compression.search.space import grid

N_ROWS: Final = 5


def carry_out_again(table: Table, workshop: Workshop, seed: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return five rows drawn by the seed: what the table says beside what is found now, in a store of its own."""
    plans = random.Random(seed).sample(list(grid(table.space)), N_ROWS)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        again = Grid(replace(workshop, store=Store(Path(folder))), say)
        for plan in in_order_of_work(plans):
            kept = table.rows[plan.key]
            now = again.row(plan, reports=kept.accuracy_dev is not None)
            found.append(
                {
                    "point": dict(plan.point),
                    "same_file": kept.sha256 == now.sha256,
                    "size_bytes": [kept.size_bytes, now.size_bytes],
                    "accuracy_validation": [kept.accuracy_validation, now.accuracy_validation],
                    "accuracy_dev": [kept.accuracy_dev, now.accuracy_dev],
                    "latency_ratio": [kept.latency_ratio, now.latency_ratio],
                    "latency_interval": [kept.latency_ratio_low, kept.latency_ratio_high],
                    "load_1m": [kept.load_1m, now.load_1m],
                }
            )
            say(f"again: {found[-1]}")
    return found
