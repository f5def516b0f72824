from typing import Literal

from pydantic import Field

from edgefleet_compression.passes.specs.base import CriterionChoice, Fraction, Spec
from edgefleet_compression.passes.specs.training import Augmentation, Budget, LearningRateSchedule, Optimizer


class LotteryTicket(Spec):
    """Find a sparse network that trains well: train, drop the smallest weights, go back to early weights, repeat.

    Frankle & Carbin 2019, arXiv:1803.03635; rewinding to step k: Frankle et al. 2020, arXiv:1912.05671.
    """

    kind: Literal["lottery_ticket"] = "lottery_ticket"
    amount: Fraction = Field(description="Share of the weights that is zero at the end.")
    rounds: int = Field(3, ge=1, le=50, description="Rounds of training and dropping; each keeps the same share.")
    budget: Budget = Field(description="How long each round trains, and the ticket at the end.")
    rewind: Literal["weights", "learning_rate", "reinitialize"] = Field(
        "weights",
        description="weights: back to those of rewind_fraction. learning_rate: keep the weights, begin the rate's course anew "
        "(Renda et al. 2020, arXiv:2003.02389). reinitialize: the control: the same zeros on newly drawn weights.",
    )
    rewind_fraction: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Share of the first training whose weights are gone back to; 0: the drawn ones.",
    )
    criterion: CriterionChoice = Field("magnitude_l1", description="How a weight is scored; low scores go first.")
    scope: Literal["layer", "global"] = Field("global", description="One ranking per layer, or one over the network.")
    batch_size: int = Field(64, ge=1, le=65536, description="Samples per step.")
    optimizer: Optimizer = Field(default_factory=Optimizer, description="Optimizer of every round.")
    lr_schedule: LearningRateSchedule = Field(
        default_factory=LearningRateSchedule, description="Course of the learning rate in every round."
    )
    augmentation: Augmentation = Field("none", description="As in train.")
