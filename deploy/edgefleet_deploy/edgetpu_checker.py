"""Whether a .tflite file would map to an Edge TPU: per operator, with reasons, before any compiler runs.

The compiler partitions once: from the first operator that it cannot map, everything runs on the CPU. Conversions from and
to float at the ends of the graph stay on the CPU too, without ending the partition.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgefleet_deploy.edgetpu_limits import find_reason
from edgefleet_deploy.edgetpu_macs import count_macs
from edgefleet_deploy.edgetpu_model import Operator, Tensor, TfliteModel, read_tflite
from edgefleet_deploy.edgetpu_rules import GENERAL_LIMITS, PER_CHANNEL_CAUTION, RULES
from edgefleet_deploy.errors import FileUnusable

JsonObject = dict[str, Any]

Placement = Literal["mapped", "unsupported", "after_unsupported", "boundary", "not_compiled"]
"""mapped: on the Edge TPU. unsupported: on the CPU, for a reason of its own. after_unsupported: on the CPU, because of an
operator before it. boundary: a conversion from or to float at an end of the graph, on the CPU. not_compiled: the compiler
refuses the whole file."""

UNKNOWN_VERSION = "version_unsupported"
UNKNOWN_OPERATOR = "operator_unsupported"


@dataclass(frozen=True)
class OperatorVerdict:
    """Where one operator would run. ``code`` and ``reason`` are None where it maps; ``macs`` are of one inference."""

    index: int
    name: str
    version: int
    placement: Placement
    macs: int
    code: str | None = None
    reason: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def mapped(self) -> bool:
        """Whether it would run on the Edge TPU."""
        return self.placement == "mapped"


@dataclass(frozen=True)
class EdgeTpuReport:
    """The whole file.

    mapped: no operator would stay on the CPU. macs_share: share of the multiply-accumulates that would run on the Edge
    TPU, in [0, 1]; None where the file has none. reasons: what stays on the CPU and why. warnings: what nobody has
    written down, so that only the compiler knows.
    """

    mapped: bool
    operators: tuple[OperatorVerdict, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    macs_share: float | None

    @property
    def n_operators(self) -> int:
        """Number of operators of the file."""
        return len(self.operators)

    @property
    def n_mapped(self) -> int:
        """Number of operators that would run on the Edge TPU."""
        return sum(operator.mapped for operator in self.operators)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(operator.macs for operator in self.operators)

    def as_json(self) -> JsonObject:
        """Return the report as JSON-safe values."""
        return {
            "mapped": self.mapped,
            "n_operators": self.n_operators,
            "n_mapped": self.n_mapped,
            "macs": self.macs,
            "macs_share": self.macs_share,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "operators": [
                {**asdict(operator), "mapped": operator.mapped, "warnings": list(operator.warnings)}
                for operator in self.operators
            ],
        }


def check_edgetpu(data: bytes) -> EdgeTpuReport:
    """Return what would map; FileUnusable for what is no .tflite file, is damaged, or is compiled already."""
    model = read_tflite(data)
    if model.n_compiled_parts:
        raise FileUnusable(
            f"this file is compiled for the Edge TPU already ({model.n_compiled_parts} edgetpu-custom-op); check the "
            ".tflite file that it was compiled from",
            code="already_compiled",
        )
    if not model.operators:
        raise FileUnusable("the file holds a network without operators; produce it again", code="file_damaged")
    whole = _whole_file_reasons(model)
    verdicts = _refuse_all(model.operators) if whole else _partition(model)
    return _report(verdicts, whole, _whole_file_warnings(model))


def _whole_file_reasons(model: TfliteModel) -> tuple[str, ...]:
    """Why the compiler would refuse the file before it looks for a partition."""
    if model.n_subgraphs > 1:
        return (f"subgraphs: the file has {model.n_subgraphs} subgraphs (control flow); the compiler takes one",)
    return ()


def _whole_file_warnings(model: TfliteModel) -> tuple[str, ...]:
    if any(size < 0 for tensor in (*model.inputs, *model.outputs) for size in tensor.signature):
        return ("the batch is free in the signature: export with a fixed batch of 1 to be sure",)
    return ()


def _refuse_all(operators: Sequence[Operator]) -> list[OperatorVerdict]:
    return [OperatorVerdict(op.index, op.name, op.version, "not_compiled", count_macs(op)) for op in operators]


def _partition(model: TfliteModel) -> list[OperatorVerdict]:
    verdicts: list[OperatorVerdict] = []
    first: OperatorVerdict | None = None
    for operator in model.operators:
        verdict = _judge(operator, model)
        if first is not None and verdict.placement == "mapped":
            verdict = _verdict(
                operator,
                "after_unsupported",
                "after_unsupported",
                f"operator {first.index} ({first.name}) stays on the CPU, and the compiler partitions only once",
            )
        elif first is None and verdict.placement == "unsupported":
            first = verdict
        verdicts.append(verdict)
    return verdicts


def _judge(operator: Operator, model: TfliteModel) -> OperatorVerdict:
    """Where the operator would run if all before it were mapped."""
    if _is_boundary(operator, model):
        return _verdict(operator, "boundary", "boundary", "a conversion between float and integers runs on the CPU")
    rule = RULES.get(operator.name)
    if rule is None:
        return _verdict(operator, "unsupported", UNKNOWN_OPERATOR, "the Edge TPU has no such operator")
    if rule.refused_from is not None and operator.version >= rule.refused_from:
        reason = f"version {operator.version} is too new, {rule.refused_from - 1} is the newest that may be taken"
        return _verdict(operator, "unsupported", UNKNOWN_VERSION, reason)
    for limit in (*GENERAL_LIMITS, *rule.limits):
        found = find_reason(operator, limit.code)
        if found is not None:
            return _verdict(operator, "unsupported", limit.code, f"{found}; wanted: {limit.text}")
    warnings = [rule.caution] if rule.caution else []
    if operator.version not in rule.versions:
        warnings.append(f"version {operator.version} was not seen on an Edge TPU")
    if operator.name == "FULLY_CONNECTED" and any(t is not None and t.n_scales > 1 for t in operator.inputs[1:2]):
        warnings.append(PER_CHANNEL_CAUTION)
    return OperatorVerdict(
        operator.index, operator.name, operator.version, "mapped", count_macs(operator), warnings=tuple(warnings)
    )


def _verdict(operator: Operator, placement: Placement, code: str, reason: str) -> OperatorVerdict:
    return OperatorVerdict(
        operator.index, operator.name, operator.version, placement, count_macs(operator), code, reason
    )


def _is_boundary(operator: Operator, model: TfliteModel) -> bool:
    """QUANTIZE of a float input of the graph, DEQUANTIZE to a float output of it."""
    if operator.name == "QUANTIZE":
        return _all_float([t for t in operator.inputs if t is not None], model.inputs)
    return operator.name == "DEQUANTIZE" and _all_float(operator.outputs, model.outputs)


def _all_float(tensors: Sequence[Tensor], ends: Sequence[Tensor]) -> bool:
    return bool(tensors) and all(t.dtype == "float32" and any(t is end for end in ends) for t in tensors)


def _report(verdicts: Sequence[OperatorVerdict], whole: tuple[str, ...], warnings: tuple[str, ...]) -> EdgeTpuReport:
    macs = sum(verdict.macs for verdict in verdicts)
    n_after = sum(v.placement == "after_unsupported" for v in verdicts)
    after = [f"after_unsupported: {n_after} operators after it run on the CPU as well"] if n_after else []
    return EdgeTpuReport(
        mapped=all(verdict.mapped for verdict in verdicts),
        operators=tuple(verdicts),
        reasons=(*whole, *_own_reasons(verdicts), *after),
        warnings=(*warnings, *(f"{_who(verdicts, text)}: {text}" for text in _distinct_warnings(verdicts))),
        macs_share=sum(verdict.macs for verdict in verdicts if verdict.mapped) / macs if macs else None,
    )


def _own_reasons(verdicts: Sequence[OperatorVerdict]) -> list[str]:
    """Return what is in the way of operators themselves, equal ones of one type as one line."""
    alike: dict[tuple[str, str | None, str | None], list[int]] = {}
    for verdict in verdicts:
        if verdict.placement in ("unsupported", "boundary"):
            alike.setdefault((verdict.name, verdict.code, verdict.reason), []).append(verdict.index)
    return [
        f"{code}: operator {indices[0]}{f' and {len(indices) - 1} more' if indices[1:] else ''} {name}: {reason}"
        for (name, code, reason), indices in alike.items()
    ]


def _distinct_warnings(verdicts: Sequence[OperatorVerdict]) -> list[str]:
    return list(dict.fromkeys(text for verdict in verdicts for text in verdict.warnings))


def _who(verdicts: Sequence[OperatorVerdict], text: str) -> str:
    """Return the operators with this warning, as in ``MEAN x1, RESHAPE x2``."""
    names = [verdict.name for verdict in verdicts if text in verdict.warnings]
    return ", ".join(f"{name} x{names.count(name)}" for name in dict.fromkeys(names))
