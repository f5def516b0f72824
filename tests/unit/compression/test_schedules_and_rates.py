import math

import pytest

from edgefleet_compression.passes.specs import (
    ClockPace,
    ConvergencePace,
    LearningRateSchedule,
    Pace,
    PlateauPace,
    ScheduleName,
)
from edgefleet_compression.schedules import CURVES, Checkpoint, TrainingState, make_schedule
from edgefleet_compression.schedules.paces import Convergence, PaceMaker, Plateau
from edgefleet_compression.training.optimizers import learning_rate


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.0), (20, 0.0), (40, 0.8 * (1 - 0.75**3)), (60, 0.7), (80, 0.8 * (1 - 0.25**3)), (100, 0.8)],
)
def test_cubic_follows_equation_1_of_zhu_and_gupta(step: int, expected: float) -> None:
    """s_f + (s_i - s_f)(1 - (t - t0)/(n dt))^3 with s_i 0, s_f 0.8, t0 20, n dt 80; at half way 7/8 of the way."""
    schedule = make_schedule("cubic", ClockPace(), first=0.0, last=0.8, start=0.2, end=1.0)
    assert schedule.target(TrainingState(step, 100)) == pytest.approx(expected, abs=1e-12)


def test_one_shot_jumps_at_its_start() -> None:
    schedule = make_schedule("one_shot", ClockPace(), first=0.0, last=0.9, start=0.5, end=1.0)
    assert [schedule.target(TrainingState(step, 10)) for step in (0, 4, 5, 9)] == [0.0, 0.0, 0.9, 0.9]


@pytest.mark.parametrize("pace", [ClockPace(), PlateauPace(), ConvergencePace()], ids=lambda pace: pace.kind)
@pytest.mark.parametrize("name", sorted(CURVES))
def test_sparsity_never_falls_and_arrives(name: ScheduleName, pace: Pace) -> None:
    schedule = make_schedule(name, pace, first=0.0, last=0.8, start=0.1, end=0.9)
    values = [schedule.target(TrainingState(step, 50)) for step in range(51)]
    assert values == sorted(values)
    assert values[-1] == 0.8


@pytest.mark.parametrize("name", sorted(set(CURVES) - {"one_shot", "step"}))
def test_curve_meets_both_ends(name: ScheduleName) -> None:
    assert [CURVES[name](0.2, 0.9, progress) for progress in (0.0, 1.0)] == pytest.approx([0.2, 0.9])


def test_exponential_curve_divides_the_density_evenly() -> None:
    """From density 1 to 1 / 16 in four steps: it halves each time."""
    values = [CURVES["exponential"](0.0, 15 / 16, progress) for progress in (0.25, 0.5, 0.75)]

    assert values == pytest.approx([1 / 2, 3 / 4, 7 / 8])


def test_sigmoid_curve_is_half_way_in_the_middle_and_slow_at_the_ends() -> None:
    low, middle, high = (CURVES["sigmoid"](0.0, 1.0, progress) for progress in (0.1, 0.5, 0.9))

    assert middle == pytest.approx(0.5)
    assert low < 0.02
    assert high > 0.98


def test_staircase_has_five_equal_jumps() -> None:
    values = {round(CURVES["step"](0.0, 1.0, i / 100), 9) for i in range(101)}

    assert sorted(values) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def history(*accuracies: float, losses: tuple[float, ...] | None = None) -> tuple[Checkpoint, ...]:
    found = losses or (1.0,) * len(accuracies)
    return tuple(Checkpoint(i + 1, loss, one) for i, (one, loss) in enumerate(zip(accuracies, found, strict=True)))


def test_plateau_waits_for_patience_then_moves_one_level() -> None:
    pace = Plateau(PlateauPace(patience=2, n_levels=4), 0.0, 1.0)
    accuracies = (0.5, 0.6, 0.6, 0.6, 0.55, 0.58, 0.58, 0.58)
    # better: 0.5, 0.6; two not better: level 2; then 0.55, 0.58 better, two not better: level 3

    reached = [pace.progress(TrainingState(n, 1000, history(*accuracies[:n]))) for n in range(len(accuracies) + 1)]

    assert reached == [0.25] * 4 + [0.5] * 4 + [0.75]


def test_plateau_ignores_what_was_before_its_window() -> None:
    pace = Plateau(PlateauPace(patience=1, n_levels=4), 0.5, 1.0)

    assert pace.progress(TrainingState(5, 10, history(0.9, 0.8, 0.7, 0.6, 0.5))) == 0.25


def test_convergence_follows_the_fall_of_the_loss() -> None:
    pace = Convergence(ConvergencePace(loss_ratio=0.2, smoothing=0.0), 0.0, 1.0)

    reached = [
        pace.progress(TrainingState(n, 1000, history(*(0.5,) * n, losses=(2.0, 1.2, 1.6, 0.4)[:n]))) for n in range(5)
    ]

    # of the fall from 2 to 0.4: nothing, half (1.2), still half (1.6 does not undo it), all
    assert reached == pytest.approx([0.0, 0.0, 0.5, 0.5, 1.0])


@pytest.mark.parametrize("pace", [Plateau(PlateauPace(), 0.0, 1.0), Convergence(ConvergencePace(), 0.0, 1.0)])
def test_an_adaptive_pace_catches_up_by_the_end(pace: PaceMaker) -> None:
    late = [pace.progress(TrainingState(step, 100)) for step in (70, 85, 100)]

    assert late == sorted(late)
    assert late[-1] == 1.0


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
