"""The space that fits a network, its data and the targets: axes from the pass specifications, others left out with a reason."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import annotated_types

from edgefleet_compression.passes.specs import ObserverName, RemoveBlocks, StructuredPrune
from edgefleet_compression.passes.specs.base import Spec
from edgefleet_compression.precision import Precision
from edgefleet_compression.search.axes import Axis, CategoricalAxis, Choice, FloatAxis, IntegerAxis, Value
from edgefleet_compression.search.families import STRATEGIES, Nature
from edgefleet_compression.search.space import (
    TARGET_AXIS,
    LeftOut,
    PassTemplate,
    SearchSpace,
    TargetChoice,
    cause_of,
    plan_of,
)

Technique = Literal["depth", "width", "calibration", "rounding_trained", "distillation"]
TECHNIQUES: Final[tuple[Technique, ...]] = get_args(Technique)
"""What a search may vary beside the number format and the target."""

N_STEPS: Final = 4
"""Steps of a numeric axis: what tens of trials can tell apart."""
CHANNEL_STEP: Final = 0.125
LEARNING_RATE: Final = 0.02
"""Of the presets (``presets.py``)."""

FORMAT_AXIS: Final = "format"
_STATIC: Final = "int8"
_FORMATS: Final[Mapping[Precision, Mapping[str, Any]]] = {
    "fp32": {},
    "fp16": {},
    "int8": {},
    "int8-dynamic": {"weights": {"bits": 8}, "activations": {"mode": "dynamic"}},
    "int8-weights": {"weights": {"bits": 8}, "activations": None},
    "int4-weights": {"weights": {"bits": 4}, "activations": None},
}
"""int4, with activations of 4 bits, is for comparisons: by it nothing gets faster or smaller."""

_TRAINED: Final[Mapping[str, tuple[Precision, Any]]] = {
    "int8-trained": ("int8", {"kind": "fake_quant"}),
    "int4-weights-trained": (
        "int4-weights",
        {"kind": "fake_quant", "weights": {"bits": 4, "scale": "learned"}, "activations": None},
    ),
}
"""Formats whose rounding a training sees."""


@dataclass(frozen=True)
class Supplies:
    """What is at hand: data with labels, samples alone, or nothing; and the most epochs of one training."""

    data: Literal["labelled", "samples", "none"]
    max_epochs: int = 4
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Refuse a budget below one epoch."""
        if self.max_epochs < 1:
            raise ValueError(f"a training has at least one epoch, got {self.max_epochs}")


def space_of(
    nature: Nature,
    targets: Sequence[TargetChoice],
    supplies: Supplies,
    *,
    techniques: Collection[Technique] = TECHNIQUES,
    seed: int = 0,
) -> SearchSpace:
    """Return the space of all recipes that make sense here; ``left_out`` says which axes do not, and why."""
    draft = _Draft(nature, supplies, frozenset(techniques), tuple(targets))
    draft.add_structure()
    draft.add_formats()
    draft.add_training()
    draft.add_calibration()
    if len(targets) > 1:
        draft.add(CategoricalAxis(name=TARGET_AXIS, choices=tuple(Choice(value=target.name) for target in targets)))
    return SearchSpace(
        axes=tuple(draft.axes.values()),
        passes=_templates(draft),
        targets=draft.targets,
        seed=seed,
        left_out=tuple(draft.left_out),
    )


def range_of(spec: type[Spec], field: str) -> tuple[float | None, float | None]:
    """Return the bounds that a specification's field declares, exclusive or not; None where it has none."""
    low: Any = None
    high: Any = None
    for bound in spec.model_fields[field].metadata:
        if isinstance(bound, annotated_types.Gt | annotated_types.Ge):
            low = bound.gt if isinstance(bound, annotated_types.Gt) else bound.ge
        elif isinstance(bound, annotated_types.Lt | annotated_types.Le):
            high = bound.lt if isinstance(bound, annotated_types.Lt) else bound.le
    return (None if low is None else float(low)), (None if high is None else float(high))


class _Draft:
    """Axes in the making."""

    def __init__(
        self, nature: Nature, supplies: Supplies, techniques: frozenset[Technique], targets: tuple[TargetChoice, ...]
    ) -> None:
        self.nature, self.supplies, self.techniques, self.targets = nature, supplies, techniques, targets
        self.axes: dict[str, Axis] = {}
        self.left_out: list[LeftOut] = []

    @property
    def can_train(self) -> bool:
        return self.nature.form == "torch" and self.supplies.data == "labelled"

    def add(self, axis: Axis) -> None:
        self.axes[axis.name] = axis

    def leave_out(self, axis: str, code: str, message: str) -> None:
        self.left_out.append(LeftOut(axis=axis, code=code, message=message))

    def may(self, axis: str, technique: Technique, *, trains: bool) -> bool:
        """Return True if the technique is wanted and possible; otherwise say why not."""
        if technique not in self.techniques:
            self.leave_out(axis, "not_asked_for", f"The technique {technique} is not among those asked for.")
        elif self.nature.form == "onnx":
            self.leave_out(axis, "onnx_graph", "The ONNX graph has no torch form: only its numbers can be changed.")
        elif trains and self.supplies.data != "labelled":
            self.leave_out(axis, "no_labelled_data", "It needs training, and there is no labelled data.")
        else:
            return True
        return False

    def add_structure(self) -> None:
        """Depth and width; both have to be trained afterwards."""
        strategy = STRATEGIES[self.nature.family]
        most = int(self.nature.n_blocks * strategy.most_blocks)
        if self.may("blocks", "depth", trains=True):
            if most:
                step = max(1, most // N_STEPS)
                text = RemoveBlocks.model_fields["n_blocks"].description or ""
                self.add(IntegerAxis(name="blocks", description=text, low=0, high=most, step=step))
            else:
                self.leave_out("blocks", "no_removable_blocks", f"No block of a {self.nature.family} can be removed.")
        if self.may("channels", "width", trains=True):
            _, limit = range_of(StructuredPrune, "amount")
            high = min(strategy.most_channels, limit or 1.0)
            text = StructuredPrune.model_fields["amount"].description or ""
            self.add(FloatAxis(name="channels", description=text, low=0.0, high=high, step=CHANNEL_STEP))
            text = StructuredPrune.model_fields["scope"].description or ""
            scopes = get_args(StructuredPrune.model_fields["scope"].annotation)
            self.add(
                CategoricalAxis(name="scope", description=text, choices=tuple(Choice(value=name) for name in scopes))
            )

    def add_formats(self) -> None:
        """Every number format that one of the targets computes, the family's favourite first."""
        known = {precision for target in self.targets for precision in target.precisions}
        if STRATEGIES[self.nature.family].suits_dynamic:
            names = sorted(_FORMATS, key=lambda name: name != "int8-dynamic")
        else:
            names = [name for name in _FORMATS if name != "int8-dynamic"]
            text = "Dynamic int8 is of matrix products; convolutions stay float in most runtimes."
            self.leave_out("format: int8-dynamic", "dynamic_does_not_help", text)
        choices = [Choice(value=name, means=dict(_FORMATS[name])) for name in names if name in known]
        if self.may("format: rounding while training", "rounding_trained", trains=True):
            choices += [
                Choice(value=name, means={"while_training": spec})
                for name, (precision, spec) in _TRAINED.items()
                if precision in known
            ]
        text = "Number format of the file; trained: the training sees the rounding."
        self.add(CategoricalAxis(name="format", description=text, choices=tuple(choices)))

    def add_training(self) -> None:
        """How long, and whether the uncompressed network teaches."""
        is_needed = {"blocks", "channels"} & set(self.axes) or set(self.axes["format"].values) & set(_TRAINED)
        if not self.can_train or not is_needed:
            self.leave_out("epochs", "nothing_to_train", "No axis of this space needs a training.")
            return
        high = self.supplies.max_epochs
        low = max(1, high // N_STEPS)
        text = "Epochs of the one training."
        self.add(IntegerAxis(name="epochs", description=text, low=low, high=high, step=max(1, (high - low) // 2)))
        if self.may("teacher", "distillation", trains=True):
            fixed = {"kind": "distill", "teacher": "fixed"}
            choices = (Choice(value="uncompressed", means=fixed), Choice(value="none", means=None))
            self.add(CategoricalAxis(name="teacher", description="Who teaches the training.", choices=choices))

    def add_calibration(self) -> None:
        """How the ranges of static activations are found, and on what."""
        if _STATIC not in self.axes["format"].values:
            self.leave_out("observer", "no_static_format", "No target computes static int8.")
            return
        if self.supplies.data == "none":
            self.leave_out("observer", "no_data", "Without samples of the data set there is only minmax on made ones.")
            sources = ["batchnorm"] if self.nature.has_batchnorm and self.nature.domain == "vision" else []
            choices = tuple(Choice(value=name) for name in (*sources, "random"))
            self.add(CategoricalAxis(name="samples", description="What ranges are found on.", choices=choices))
        elif self.may("observer", "calibration", trains=False):
            choices = tuple(Choice(value=name) for name in get_args(ObserverName))
            text = "How a static activation's range is found."
            self.add(CategoricalAxis(name="observer", description=text, choices=choices))


def _templates(draft: _Draft) -> tuple[PassTemplate, ...]:
    axes, found = draft.axes, []
    formats = axes["format"].values
    if "blocks" in axes:
        spec: dict[str, Any] = {"kind": "remove_blocks", "n_blocks": {"$axis": "blocks"}}
        found.append(PassTemplate(spec=spec, unless=({"blocks": (0,)},)))
    if "channels" in axes:
        spec = {"kind": "structured_prune", "amount": {"$axis": "channels"}, "scope": {"$axis": "scope"}}
        found.append(PassTemplate(spec=spec, unless=({"channels": (0.0,)},)))
    if "epochs" in axes:
        found.append(_training(draft))
    if _STATIC in formats:
        calibration = {
            key: {"$axis": name} for key, name in (("observer", "observer"), ("source", "samples")) if name in axes
        }
        spec = {"kind": "quantize", **({"calibration": calibration} if calibration else {})}
        found.append(PassTemplate(spec=spec, unless=_all_but(formats, (_STATIC,))))
    others = tuple(name for name, parts in _FORMATS.items() if parts and name in formats)
    if others:
        parts = {key: {"$axis": "format", "$part": key} for key in ("weights", "activations")}
        found.append(PassTemplate(spec={"kind": "quantize", **parts}, unless=_all_but(formats, others)))
    if "fp16" in formats:
        found.append(PassTemplate(spec={"kind": "cast"}, unless=_all_but(formats, ("fp16",))))
    return tuple(found)


def _training(draft: _Draft) -> PassTemplate:
    axes = draft.axes
    trained = [value for value in axes["format"].values if value in _TRAINED]
    ingredients: list[Any] = [{"$axis": "teacher"}] if "teacher" in axes else []
    ingredients += [{"$axis": "format", "$part": "while_training"}] if trained else []
    untouched: dict[str, tuple[Value, ...]] = {
        name: (0,) if name == "blocks" else (0.0,) for name in ("blocks", "channels") if name in axes
    }
    untouched["format"] = tuple(value for value in axes["format"].values if value not in _TRAINED)
    spec = {
        "kind": "train",
        "budget": {"epochs": {"$axis": "epochs"}},
        "batch_size": draft.supplies.batch_size,
        "optimizer": {"lr": LEARNING_RATE},
        "ingredients": ingredients,
    }
    return PassTemplate(spec=spec, unless=(untouched,))


def _all_but(values: Sequence[Value], wanted: Sequence[Value]) -> tuple[dict[str, tuple[Value, ...]], ...]:
    rest = tuple(value for value in values if value not in wanted)
    return ({"format": rest},) if rest else ()


STRUCTURAL: Final = ("blocks", "channels")


def first_points(space: SearchSpace) -> tuple[dict[str, Value], ...]:
    """Return points to begin a search with: on every target the network as it is and in its smallest integer formats, then
    the same formats in the middle and at the far end of the structural axes. All are recipes of the space.
    """
    found: dict[str, dict[str, Value]] = {}
    for depth in (0.0, 0.5, 1.0):
        for format_name in _first_formats(space)[: 3 if depth == 0.0 else 1]:
            for target in space.targets:
                wanted = {**dict.fromkeys(STRUCTURAL, depth), "epochs": 1.0}
                point = {axis.name: _at(axis, wanted.get(axis.name, 0.0)) for axis in space.axes}
                point |= {
                    name: value
                    for name, value in ((FORMAT_AXIS, format_name), (TARGET_AXIS, target.name))
                    if name in point
                }
                if cause_of(space, point) is None:
                    found.setdefault(plan_of(space, point).key, point)
    return tuple(found.values())


def _first_formats(space: SearchSpace) -> list[Value]:
    """Return the family's favourite integers, then the uncompressed format, then other integers."""
    values: Sequence[Value] = next((axis.values for axis in space.axes if axis.name == FORMAT_AXIS), ("",))
    integers = [value for value in values if value in ("int8", "int8-dynamic", "int8-weights")]
    return [*integers[:1], *(value for value in values if value == "fp32"), *integers[1:]] or list(values[:1])


def _at(axis: Axis, share: float) -> Value:
    """Return the axis's value nearest to this share of its way; of choices the first."""
    if isinstance(axis, CategoricalAxis):
        return axis.values[0]
    if not axis.values:
        return axis.low
    return axis.values[round(share * (len(axis.values) - 1))]
