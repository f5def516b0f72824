"""How well the simulated Raspberry Pi 4 gives the published latencies it was fitted to."""

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Callable, NamedTuple, Optional

from edgefleet_agent.simulate.architectures import mobilenet_v1, mobilenet_v2
from edgefleet_agent.simulate.operators import OperatorTable, Precision
from edgefleet_agent.simulate.parameters import board_named
from edgefleet_agent.simulate.roofline import latency_ms

SYSTEM = "rpi4coral-fan.on-tflite-v2.5.0-ruy"
"""The Raspberry Pi 4 with a fan under TFLite; the Coral of its name is not used in these rows."""

MODEL_NAME = re.compile(r"mobilenet-v(?P<version>[12])-(?P<width>[\d.]+)-(?P<side>\d+)-(?P<quantized>(non-)?quantized)")
ARCHITECTURES: Mapping[str, Callable[[float, int, Precision], OperatorTable]] = MappingProxyType(
    {"1": mobilenet_v1, "2": mobilenet_v2}
)


class Comparison(NamedTuple):
    """One published row beside the simulation, both the median in ms."""

    model: str
    precision: Precision
    published_ms: float
    simulated_ms: float

    @property
    def log_error(self) -> float:
        """Natural logarithm of simulated / published."""
        return math.log(self.simulated_ms / self.published_ms)


def table_named(model: str) -> Optional[OperatorTable]:
    """The operator table of a row's model, or None where it is no MobileNet v1 or v2."""
    found = MODEL_NAME.fullmatch(model)
    if found is None:
        return None
    precision = Precision.FP32 if found["quantized"] == "non-quantized" else Precision.INT8
    return ARCHITECTURES[found["version"]](float(found["width"]), int(found["side"]), precision)


def compare_rows(csv_path: Path) -> list[Comparison]:
    """All MobileNet v1 and v2 rows of the Raspberry Pi 4 (columns system, model, p50_ms) beside the simulation."""
    board = board_named("raspberry-pi-4")
    comparisons = []
    with csv_path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            table = table_named(row["model"]) if row["system"] == SYSTEM else None
            if table is not None:
                simulated_ms = latency_ms(table, board)
                comparisons.append(Comparison(row["model"], table.precision, float(row["p50_ms"]), simulated_ms))
    return comparisons


def rms_log_error(csv_path: Path, precision: str) -> float:
    """Root mean square of the log errors of one precision (fp32, or uint8 = int8); 0.1 is about 10 %.

    Raises ValueError for another precision, or where the file has no such row.
    """
    wanted = Precision({"uint8": "int8"}.get(precision, precision))
    errors = [row.log_error for row in compare_rows(csv_path) if row.precision is wanted]
    if not errors:
        raise ValueError("{} has no {} row of {}".format(csv_path, precision, SYSTEM))
    return math.sqrt(sum(error**2 for error in errors) / len(errors))
