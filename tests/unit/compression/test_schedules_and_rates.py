import math

import pytest

from edgefleet_compression.passes.specs import LearningRateSchedule
from edgefleet_compression.schedules import SCHEDULES
from edgefleet_compression.schedules.state import TrainingState
from edgefleet_compression.training.optimizers import learning_rate


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.0), (20, 0.0), (40, 0.8 * (1 - 0.75**3)), (60, 0.7), (80, 0.8 * (1 - 0.25**3)), (100, 0.8)],
)
def test_cubic_follows_equation_1_of_zhu_and_gupta(step: int, expected: float) -> None:
    """s_f + (s_i - s_f)(1 - (t - t0)/(n dt))^3 with s_i 0, s_f 0.8, t0 20, n dt 80; at half way 7/8 of the way."""
    schedule = SCHEDULES["cubic"](0.0, 0.8, 0.2, 1.0)
    assert schedule.target(TrainingState(step, 100)) == pytest.approx(expected, abs=1e-12)


def test_one_shot_jumps_at_its_start() -> None:
    schedule = SCHEDULES["one_shot"](0.0, 0.9, 0.5, 1.0)
    assert [schedule.target(TrainingState(step, 10)) for step in (0, 4, 5, 9)] == [0.0, 0.0, 0.9, 0.9]


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_sparsity_never_falls(name: str) -> None:
    schedule = SCHEDULES[name](0.0, 0.8, 0.1, 0.9)  # type: ignore[index]
    values = [schedule.target(TrainingState(step, 50)) for step in range(51)]
    assert values == sorted(values)
    assert values[-1] == 0.8


def test_cosine_rate_starts_at_the_peak_and_is_half_of_it_half_way() -> None:
    spec = LearningRateSchedule(name="cosine", warmup_fraction=0.0)
    rates = [learning_rate(spec, peak=0.2, step=step, n_steps=100) for step in (0, 50, 100)]
    assert rates == pytest.approx([0.2, 0.1, 0.0], abs=1e-12)


def test_warm_up_rises_linearly_to_the_peak() -> None:
    spec = LearningRateSchedule(name="constant", warmup_fraction=0.1)
    rates = [learning_rate(spec, peak=1.1, step=step, n_steps=100) for step in range(12)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10:] == [1.1, 1.1]


def test_step_rate_falls_by_gamma_at_each_mark() -> None:
    spec = LearningRateSchedule(name="step", warmup_fraction=0.0, step_at=(0.5, 0.75), gamma=0.1)
    rates = [learning_rate(spec, peak=1.0, step=step, n_steps=100) for step in (49, 50, 75)]
    assert rates == pytest.approx([1.0, 0.1, 0.01])
    assert all(math.isfinite(rate) for rate in rates)
