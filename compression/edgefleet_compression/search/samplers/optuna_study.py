"""An Optuna study made anew from a history, in memory, and asked for points. Nothing of Optuna is ever stored."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgefleet_compression.search.axes import Axis, CategoricalAxis, IntegerAxis, Point
from edgefleet_compression.search.samplers.base import Situation


def draw_from(
    sampler: Any, situation: Situation, *, attributes: Mapping[int, Mapping[str, Any]] | None = None
) -> Iterator[Point]:
    """Draw points from an Optuna sampler that has been told the situation.

    attributes: place in ``told`` -> system attributes that the sampler would have left on that trial. A drawn point is
    withdrawn before the next one is drawn.
    """
    import optuna  # takes a second, and few processes search

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {axis.name: _distribution(axis) for axis in situation.space.axes}
    study = optuna.create_study(directions=["minimize"] * situation.n_objectives, sampler=sampler)
    for place, told in enumerate(situation.told):
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(told.point),
                distributions=distributions,
                values=list(told.costs),
                constraints={str(index): value for index, value in enumerate(told.violations)},
                system_attrs=dict((attributes or {}).get(place, {})),
            )
        )
    for point in situation.pending:
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING, params=dict(point), distributions=distributions
            )
        )
    while True:
        trial = study.ask(distributions)
        yield dict(trial.params)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _distribution(axis: Axis) -> Any:
    from optuna import distributions

    if isinstance(axis, CategoricalAxis):
        return distributions.CategoricalDistribution(axis.values)
    if isinstance(axis, IntegerAxis):
        return distributions.IntDistribution(axis.low, axis.values[-1], step=axis.step)
    last = axis.values[-1] if axis.values else axis.high
    return distributions.FloatDistribution(axis.low, last, step=axis.step, log=axis.log)
