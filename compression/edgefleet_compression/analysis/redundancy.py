"""How redundant a weight matrix is, by its singular values."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

ENERGY: Final = 0.9
"""Share of the squared singular values whose number counts as a matrix's rank."""


@dataclass(frozen=True)
class Redundancy:
    """Of a weight as a matrix (out, rest)."""

    rank_ratio: float
    """Singular values that hold 90 % of the energy, over all; 0 for a matrix of zeros."""
    share: float
    """Weights that two factors (out, r) and (r, rest) of that rank save, over all; never negative."""


def measure_redundancy(weight: Tensor) -> Redundancy:
    """Return the redundancy of a weight (out, ...), taken as a matrix (out, rest)."""
    matrix = weight.detach().flatten(1).double()
    n_rows, n_columns = matrix.shape
    # eigenvalues of the smaller Gram matrix are the squared singular values, far cheaper than those themselves
    gram = matrix @ matrix.T if n_rows <= n_columns else matrix.T @ matrix
    energies = torch.linalg.eigvalsh(gram).clamp(min=0.0).flip(0)
    total = float(energies.sum())
    if total == 0.0:
        return Redundancy(0.0, 1.0)
    rank = int((energies.cumsum(0) < ENERGY * total).sum()) + 1
    saved = 1.0 - rank * (n_rows + n_columns) / (n_rows * n_columns)
    return Redundancy(rank / len(energies), max(0.0, saved))
