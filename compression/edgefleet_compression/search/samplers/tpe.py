"""Tree-structured Parzen estimators with several objectives (Ozaki et al. 2022, JAIR 73, MOTPE; Watanabe 2023,
arXiv:2304.11127), by Optuna.
"""

from collections.abc import Iterator
from typing import Final

from edgefleet_compression.search.axes import Point
from edgefleet_compression.search.samplers.base import Situation
from edgefleet_compression.search.samplers.optuna_study import draw_from

N_STARTUP: Final = 10
STARTUP_SHARE: Final = 0.25


def draw_tpe(situation: Situation) -> Iterator[Point]:
    """Draw what is likelier among the good points than among the others; points under way count as not good (constant liar)."""
    from optuna.samplers import TPESampler

    n_startup = max(2, min(N_STARTUP, round(situation.n_trials * STARTUP_SHARE)))
    sampler = TPESampler(seed=situation.seed, n_startup_trials=n_startup, multivariate=True, constant_liar=True)
    return draw_from(sampler, situation)
