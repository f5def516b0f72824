"""Comparisons on synthetic series made of recorded noise, and on series whose answer is known."""

from pathlib import Path

import numpy as np
import pytest

from edgefleet_agent.measure.comparison import block_sides, compare_blocks, judge
from edgefleet_agent.measure.paired import BlockPlan, false_positives
from edgefleet_agent.statistics import SamplesInsufficient
from edgefleet_agent.wire.comparison import Outcome

NOISE = Path(__file__).parents[2] / "data" / "latency_noise_x86.npz"
N_PAIRS = 400
N_TRIALS = 100


@pytest.fixture(scope="module")
def noise() -> "tuple[list[np.ndarray], list[np.ndarray]]":
    with np.load(NOISE, allow_pickle=False) as file:
        blocks = np.split(file["latency_100ns"].astype(np.float64), np.cumsum(file["n"])[:-1])
        is_b = file["is_b"]
    return [x for x, b in zip(blocks, is_b, strict=True) if not b], [x for x, b in zip(blocks, is_b, strict=True) if b]


def trial(noise: "tuple[list[np.ndarray], list[np.ndarray]]", seed: int, slowdown: float) -> Outcome:
    """Compare a random stretch of the recording, sides at random, with one side slowed down."""
    rng = np.random.default_rng(seed)
    first = 2 * int(rng.integers(0, len(noise[0]) // 2))
    stretch = [(first + i) % len(noise[0]) for i in range(N_PAIRS)]
    a, b = ([side[i] for i in stretch] for side in (noise if rng.random() < 0.5 else noise[::-1]))
    return compare_blocks(a, [slowdown * block for block in b], seed=seed).outcome


def test_equals_are_called_different_in_at_most_ten_of_a_hundred(
    noise: "tuple[list[np.ndarray], list[np.ndarray]]",
) -> None:
    outcomes = [trial(noise, seed, 1.0) for seed in range(N_TRIALS)]
    assert sum(outcome is not Outcome.NO_DIFFERENCE for outcome in outcomes) <= 10


@pytest.mark.parametrize(("slowdown", "outcome"), [(1.03, Outcome.SLOWER), (1 / 1.03, Outcome.FASTER)])
def test_three_percent_are_found_in_ninety_of_a_hundred(
    noise: "tuple[list[np.ndarray], list[np.ndarray]]", slowdown: float, outcome: Outcome
) -> None:
    found = sum(trial(noise, seed, slowdown) is outcome for seed in range(N_TRIALS))
    assert found >= 90


def steady_blocks(level: float, n: int = 40, seed: int = 0) -> "list[np.ndarray]":
    rng = np.random.default_rng(seed)
    return [rng.normal(level, 0.002 * level, 30) for _ in range(n)]


def test_known_ratio_lies_in_the_interval() -> None:
    compared = compare_blocks(steady_blocks(1.0), steady_blocks(1.25, seed=1))
    assert compared.interval[0] <= 1.25 <= compared.interval[1]
    assert compared.ratio == pytest.approx(1.25, rel=2e-3)
    assert compared.outcome is Outcome.SLOWER
    assert (compared.n_pairs, compared.n_kept) == (40, 10)


def test_few_noisy_couples_are_not_sure_of_themselves() -> None:
    """Twelve pairs with 5 % of noise between blocks: of 100 comparisons of equals hardly any claims a difference."""
    rng = np.random.default_rng(11)
    claims = 0
    for _ in range(100):
        a, b = ([np.full(5, level) for level in rng.normal(1.0, 0.05, 12)] for _ in "ab")
        claims += compare_blocks(a, b).outcome is not Outcome.NO_DIFFERENCE
    assert claims <= 5


def test_linear_drift_cancels() -> None:
    """Everything gets 1 % slower from block to block; run as A A ... B B ... this would look like 40 %."""
    blocks: dict[str, list[np.ndarray]] = {"A": [], "B": []}
    for number, side in enumerate(block_sides(20)):
        blocks[side].append(np.full(11, 1.0 + 0.01 * number))
    compared = compare_blocks(blocks["A"], blocks["B"])
    assert compared.ratio == pytest.approx(1.0, abs=1e-3)
    assert compared.outcome is Outcome.NO_DIFFERENCE


def test_difference_below_one_percent_gets_no_verdict() -> None:
    compared = compare_blocks(steady_blocks(1.0), steady_blocks(1.006, seed=1))
    assert compared.interval[0] > 1.0
    assert compared.outcome is Outcome.NO_DIFFERENCE


@pytest.mark.parametrize(
    ("ratio", "interval", "outcome"),
    [
        (1.02, (1.01, 1.03), Outcome.SLOWER),
        (0.98, (0.97, 0.99), Outcome.FASTER),
        (1.02, (0.99, 1.05), Outcome.NO_DIFFERENCE),
        (0.98, (0.95, 1.01), Outcome.NO_DIFFERENCE),
    ],
)
def test_verdict_needs_an_interval_without_one(ratio: float, interval: "tuple[float, float]", outcome: Outcome) -> None:
    assert judge(ratio, interval) is outcome


def test_comparison_is_repeatable() -> None:
    a, b = steady_blocks(1.0), steady_blocks(1.1, seed=1)
    assert compare_blocks(a, b, seed=3) == compare_blocks(a, b, seed=3)


@pytest.mark.parametrize(
    ("a", "b"),
    [([], []), ([np.ones(3)] * 12, [np.ones(3)] * 13), ([np.ones(3)] * 11,) * 2, ([np.ones(0)] * 12,) * 2],
)
def test_too_few_blocks_are_refused(a: "list[np.ndarray]", b: "list[np.ndarray]") -> None:
    with pytest.raises(SamplesInsufficient):
        compare_blocks(a, b)


def test_blocks_run_in_couples() -> None:
    assert "".join(block_sides(4)) == "ABBAABBA"


def test_false_positives_have_an_interval() -> None:
    """3 of 100: R's prop.test(3, 100, correct = FALSE) gives 0.0103 to 0.0845."""
    rate = false_positives([(1.0, Outcome.NO_DIFFERENCE)] * 97 + [(1.02, Outcome.SLOWER)] * 3)
    assert rate.n_false_positives == 3
    assert rate.interval == pytest.approx((0.0103, 0.0845), abs=1e-4)


@pytest.mark.parametrize("plan", [{"n_pairs": 11}, {"seconds": 0.0}, {"min_samples": 0}, {"max_seconds": 0.0}])
def test_plan_that_compares_nothing_is_refused(plan: "dict[str, float]") -> None:
    with pytest.raises(ValueError, match="pairs of blocks"):
        BlockPlan(**plan)  # type: ignore[arg-type]
