"""Specifications of the passes: frozen values that serialise to JSON, become the REST schema and feed the search space.

Torch-free. A field's description, range and default are the single place where they are written.
"""

from typing import Annotated

from pydantic import Field

from edgefleet_compression.passes.specs.allocation import BitAllocation, BitChoice, ImportanceGroups
from edgefleet_compression.passes.specs.base import (
    CriterionChoice,
    CriterionName,
    Fraction,
    ScheduleName,
    SparsityStructure,
    Spec,
    SpecT,
    TeacherName,
    WeightedCriterion,
)
from edgefleet_compression.passes.specs.cast import Cast
from edgefleet_compression.passes.specs.distill import Distill
from edgefleet_compression.passes.specs.ingredients import FakeQuant, Ingredient, Sparsify
from edgefleet_compression.passes.specs.lottery_ticket import LotteryTicket
from edgefleet_compression.passes.specs.low_rank import LowRank
from edgefleet_compression.passes.specs.paces import ClockPace, ConvergencePace, Pace, PlateauPace
from edgefleet_compression.passes.specs.prune_weights import PruneWeights
from edgefleet_compression.passes.specs.quantize import (
    ActivationFormat,
    Calibration,
    ObserverName,
    QuantizationFormat,
    Quantize,
    WeightFormat,
    format_precision,
    rounds_itself,
)
from edgefleet_compression.passes.specs.remove_blocks import BlockCriterionName, RemoveBlocks
from edgefleet_compression.passes.specs.structured_prune import (
    DEFAULT_ROUND_TO,
    PrunableStructure,
    StructuredPrune,
)
from edgefleet_compression.passes.specs.synthesis import Synthesis
from edgefleet_compression.passes.specs.train import Student, Train
from edgefleet_compression.passes.specs.training import (
    Augmentation,
    Budget,
    LearningRateSchedule,
    LossWeights,
    Optimizer,
)

__all__ = [
    "DEFAULT_ROUND_TO",
    "ActivationFormat",
    "AnyPass",
    "Augmentation",
    "BitAllocation",
    "BitChoice",
    "BlockCriterionName",
    "Budget",
    "Calibration",
    "Cast",
    "ClockPace",
    "ConvergencePace",
    "CriterionChoice",
    "CriterionName",
    "Distill",
    "FakeQuant",
    "Fraction",
    "ImportanceGroups",
    "Ingredient",
    "LearningRateSchedule",
    "LossWeights",
    "LotteryTicket",
    "LowRank",
    "ObserverName",
    "Optimizer",
    "Pace",
    "PlateauPace",
    "PrunableStructure",
    "PruneWeights",
    "QuantizationFormat",
    "Quantize",
    "RemoveBlocks",
    "ScheduleName",
    "Sparsify",
    "SparsityStructure",
    "Spec",
    "SpecT",
    "StructuredPrune",
    "Student",
    "Synthesis",
    "TeacherName",
    "Train",
    "WeightFormat",
    "WeightedCriterion",
    "format_precision",
    "rounds_itself",
]

AnyPass = Annotated[
    StructuredPrune | RemoveBlocks | PruneWeights | LotteryTicket | LowRank | Quantize | Cast | Train,
    Field(discriminator="kind"),
]
