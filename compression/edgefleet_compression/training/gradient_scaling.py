"""Joint training: several losses with weights, their gradients taken as they are or balanced."""

from collections.abc import Mapping
from typing import Final, Literal

import torch
from torch import Tensor

from edgefleet_compression.checkpoints import State
from edgefleet_compression.passes.specs import LossWeights
from edgefleet_compression.training.ingredient import Run

MEASURE_EVERY: Final = 10
"""Steps between two looks at the norms; each costs one more backward pass per loss."""

SMOOTHING: Final = 0.9
"""Share of the past in the moving averages of the norms."""

LEAST_NORM: Final = 1e-8


class GradientScaling:
    """The weighted sum of the losses; adaptive: each weight times what makes the gradients' norms equal.

    Chen et al. 2018, "GradNorm", arXiv:1711.02257, equation 1 with asymmetry alpha 0: the wanted norm of every loss is the
    mean norm. The paper follows the weights by gradient descent; for alpha 0 their optimum is closed, mean(G) / G_i, and is
    used as it is. As in the paper the factors are scaled to the sum of their number.
    """

    def __init__(self, weights: LossWeights, scaling: Literal["uniform", "adaptive"]) -> None:
        self._weights = weights.model_dump()
        self._is_adaptive = scaling == "adaptive"
        self._norms: dict[str, float] = {}

    def combine(self, terms: Mapping[str, Tensor], run: Run) -> Tensor:
        """Return the loss to minimise; terms: name -> loss (scalar), of which those of weight 0 are left out."""
        used = {name: term for name, term in terms.items() if self._weights[name] > 0}
        factors = dict.fromkeys(used, 1.0)
        if self._is_adaptive:
            if run.step % MEASURE_EVERY == 0 or not set(used) <= set(self._norms):
                self._measure(used, run)
            factors = balance({name: self._norms[name] for name in used})
        return torch.stack([self._weights[name] * factors[name] * term for name, term in used.items()]).sum()

    def state(self) -> State:
        """Return the moving norms."""
        return {"norms": self._norms}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._norms = dict(state["norms"])

    def _measure(self, terms: Mapping[str, Tensor], run: Run) -> None:
        parameters = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
        for name, term in terms.items():
            gradients = torch.autograd.grad(
                term, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            norm = float(torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt())
            before = self._norms.get(name)
            self._norms[name] = norm if before is None else SMOOTHING * before + (1.0 - SMOOTHING) * norm


def balance(norms: Mapping[str, float]) -> dict[str, float]:
    """Return name -> factor, proportional to 1 / norm and together as many as there are names.

    Of norms 1 and 3: 1.5 and 0.5. A loss without gradient keeps the factor 1.
    """
    alive = {name: norm for name, norm in norms.items() if norm > LEAST_NORM}
    inverse = {name: 1.0 / norm for name, norm in alive.items()}
    total = sum(inverse.values())
    return {name: len(alive) * inverse[name] / total if name in inverse else 1.0 for name in norms}
