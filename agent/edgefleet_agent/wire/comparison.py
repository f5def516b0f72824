"""What an A/B or A/A run found: the values both sides speak."""

from enum import Enum
from typing import Literal

from pydantic import Field, model_validator

from edgefleet_agent.wire.base import Wire

RunKind = Literal["measure", "ab", "aa"]
"""measure: one artifact; ab: two artifacts in turns; aa: one artifact against itself, again and again."""

Bounds = tuple[float, float]


class Outcome(str, Enum):
    """How B compares with A."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no_difference"


class ComparisonPlan(Wire):
    """How many blocks of inferences of which length a comparison runs, and how many comparisons an A/A run makes."""

    n_pairs: int = Field(default=400, ge=12, le=100_000, description="blocks of each side in one comparison")
    block_seconds: float = Field(default=0.02, gt=0, le=60, description="least length of a block in seconds")
    block_min_samples: int = Field(default=3, ge=1, le=100_000, description="least inferences of a block")
    max_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="one comparison begins no couple of blocks after this many seconds"
    )
    n_comparisons: int = Field(default=1, ge=1, le=1000, description="aa: comparisons, with fresh processes each time")


class ComparisonFigures(Wire):
    """The ratio of latencies B / A with its bootstrap interval, and what it says."""

    ratio: float = Field(gt=0, description="latency of B over A: median over couples of blocks of the ratio of medians")
    interval: Bounds = Field(description="bootstrap interval of the ratio (low, high)")
    confidence: float = Field(gt=0, lt=1, description="confidence of the interval")
    outcome: Outcome = Field(description="B is faster, slower, or no different (also below 1 %)")
    n_pairs: int = Field(ge=1, description="pairs of blocks")
    n_kept: int = Field(ge=1, description="couples of pairs (A B B A) that counted: the calmer half")

    @model_validator(mode="after")
    def _the_outcome_follows_from_the_interval(self) -> "ComparisonFigures":
        low, high = self.interval
        if not 0 < low <= high < float("inf"):
            raise ValueError("({}, {}) is no interval of a ratio".format(low, high))
        if (self.outcome is Outcome.FASTER and high >= 1) or (self.outcome is Outcome.SLOWER and low <= 1):
            raise ValueError("{} contradicts the interval ({}, {})".format(self.outcome.value, low, high))
        return self


class FalsePositives(Wire):
    """How often this device calls one artifact different from itself."""

    n_comparisons: int = Field(ge=1, description="A/A comparisons, each with fresh processes")
    n_false_positives: int = Field(ge=0, description="comparisons with another outcome than no_difference")
    share: float = Field(ge=0, le=1, description="n_false_positives / n_comparisons")
    interval: Bounds = Field(description="95 % Wilson interval of the share")
    ratios: list[float] = Field(description="ratio of every comparison, in order")
    outcomes: list[Outcome] = Field(description="outcome of every comparison, in order")

    @model_validator(mode="after")
    def _the_counts_agree(self) -> "FalsePositives":
        n_false = sum(outcome is not Outcome.NO_DIFFERENCE for outcome in self.outcomes)
        counts = (len(self.ratios), len(self.outcomes), n_false)
        if counts != (self.n_comparisons, self.n_comparisons, self.n_false_positives):
            raise ValueError("ratios, outcomes and counts disagree: {}".format(counts))
        if not self.interval[0] <= self.share <= self.interval[1]:
            raise ValueError("the interval {} does not hold the share {}".format(self.interval, self.share))
        return self
