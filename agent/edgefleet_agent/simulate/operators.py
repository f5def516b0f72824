"""What an operator costs, whatever it runs on: the input of the roofline."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from edgefleet_agent.errors import SettingsInvalid


class Kind(str, Enum):
    """Kinds of operators that run at unlike rates."""

    DENSE = "dense"
    """Pointwise convolution, fully connected layer, and a convolution over an image's few channels."""
    CONV3X3 = "conv3x3"
    """Any other convolution with a spatial kernel."""
    DEPTHWISE = "depthwise"
    ELEMENTWISE = "elementwise"
    """No multiplications: bound by memory, such as a residual addition."""


class Precision(str, Enum):
    """Number format of weights and activations."""

    FP32 = "fp32"
    INT8 = "int8"

    @property
    def element_bytes(self) -> int:
        """Bytes of one activation."""
        return 4 if self is Precision.FP32 else 1


@dataclass(frozen=True)
class Operator:
    """One operator for one sample.

    ``macs``: multiply-accumulate operations. ``weight_bytes``: constants as stored in the file.
    ``activation_elements``: elements of all non-constant inputs and outputs.
    """

    kind: Kind
    macs: int
    weight_bytes: int
    activation_elements: int

    def __post_init__(self) -> None:
        """Refuse negative counts."""
        if min(self.macs, self.weight_bytes, self.activation_elements) < 0:
            raise ValueError("counts of an operator are not negative: {}".format(self))


@dataclass(frozen=True)
class OperatorTable:
    """The operators of one artifact in order, and its precision."""

    operators: tuple[Operator, ...]
    precision: Precision

    def __post_init__(self) -> None:
        """Refuse an empty table."""
        if not self.operators:
            raise ValueError("a table holds at least one operator")

    @property
    def n_macs(self) -> int:
        """Multiply-accumulate operations of one sample."""
        return sum(operator.macs for operator in self.operators)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(operator.weight_bytes for operator in self.operators)


def table_from_manifest(manifest: Mapping[str, Any]) -> OperatorTable:
    """The table in an artifact's manifest (fields ``operators`` and ``precision``).

    Raises ValueError with what is missing or wrong.
    """
    listed = manifest.get("operators")
    if not listed:
        raise ValueError("the manifest has no operator table")
    precision = manifest.get("precision")
    if precision not in {item.value for item in Precision}:
        raise ValueError("precision {!r} is neither fp32 nor int8".format(precision))
    return OperatorTable(tuple(_operators(listed)), Precision(precision))


def _operators(listed: Sequence[Mapping[str, Any]]) -> list[Operator]:
    try:
        return [
            Operator(Kind(row["kind"]), int(row["macs"]), int(row["weight_bytes"]), int(row["activation_elements"]))
            for row in listed
        ]
    except (KeyError, TypeError) as err:
        raise ValueError("a row of the operator table is incomplete: {}".format(err)) from err


def read_table(path: Path) -> OperatorTable:
    """The table in a JSON file: a manifest, or just its fields operators and precision; raises SettingsInvalid."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return table_from_manifest(document if isinstance(document, dict) else {})
    except (OSError, ValueError) as err:
        raise SettingsInvalid(
            "{} holds no operator table ({}); give an artifact's manifest, or an object with precision and "
            "operators: [{{kind, macs, weight_bytes, activation_elements}}]".format(path, err)
        ) from err
