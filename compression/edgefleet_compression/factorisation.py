"""Two thin layers in place of a thick one, by truncated singular value decomposition.

``channel``: a k x k convolution to r channels, then 1 x 1 (Zhang et al. 2016, arXiv:1505.06798, section 3). ``spatial``:
k x 1, then 1 x k (Jaderberg et al. 2014, arXiv:1405.3866, scheme 2). A linear layer has the channel form only (Denton et
al. 2014, arXiv:1404.0736); an embedding becomes a narrower embedding with a linear layer behind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Form = Literal["channel", "spatial"]
Factorable = nn.Linear | nn.Conv2d | nn.Embedding


@dataclass(frozen=True)
class Factors:
    """A matrix as ``left @ right`` for every rank at once.

    left: (m, p), the singular vectors times the singular values' roots. right: (p, n) likewise. energy: (p,) the share of
    the squared singular values within the first 1..p of them; the last is 1.
    """

    form: Form
    left: Tensor
    right: Tensor
    energy: Tensor

    @property
    def n_per_rank(self) -> int:
        """Weights that each rank costs."""
        return self.left.shape[0] + self.right.shape[1]

    def rank_for_energy(self, energy: float) -> int:
        """Return the smallest rank that keeps this share of the squared singular values, 0 < energy <= 1."""
        return min(int((self.energy < energy).sum()) + 1, len(self.energy))

    def lost_energy(self, rank: int) -> float:
        """Return the share of the squared singular values that a rank >= 1 leaves out."""
        return max(0.0, 1.0 - float(self.energy[rank - 1]))


def factor(module: Factorable, form: Form) -> Factors:
    """Return the factors of a layer's weight; decomposed in float64, returned in the weight's own type."""
    matrix = _as_matrix(module, form)
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    squares = s.square()
    total = squares.sum()
    # a weight of zeros keeps all its energy at any rank
    energy = squares.cumsum(0) / total if total > 0 else torch.ones_like(squares)
    root = s.sqrt()
    dtype = module.weight.dtype
    return Factors(form, (u * root).to(dtype), (root[:, None] * vh).to(dtype), energy)


def forms_of(module: nn.Module) -> tuple[Form, ...]:
    """Return the forms a layer can take; empty where it has none (1 x 1 and grouped convolutions, other layers)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        return ("channel",)
    if isinstance(module, nn.Conv2d) and module.groups == 1:
        return ("channel",) if max(module.kernel_size) == 1 else ("channel", "spatial")
    return ()


def split_layer(module: Factorable, form: Form, rank: int) -> nn.Sequential:
    """Return the two empty layers of this rank, with the original's stride, padding, dilation and bias."""
    device = module.weight.device
    if isinstance(module, nn.Embedding):
        first: nn.Module = nn.Embedding(module.num_embeddings, rank, padding_idx=module.padding_idx, device=device)
        return nn.Sequential(first, nn.Linear(rank, module.embedding_dim, bias=False, device=device))
    has_bias = module.bias is not None
    if isinstance(module, nn.Linear):
        first = nn.Linear(module.in_features, rank, bias=False, device=device)
        return nn.Sequential(first, nn.Linear(rank, module.out_features, bias=has_bias, device=device))
    return _split_convolution(module, form, rank, has_bias)


def fill_(pair: nn.Sequential, module: Factorable, factors: Factors) -> None:
    """Set, in place, the weights of a pair from the factors, cut to the pair's rank; the bias is the original's."""
    first, second = pair[0], pair[1]
    assert isinstance(first, nn.Linear | nn.Conv2d | nn.Embedding)
    assert isinstance(second, nn.Linear | nn.Conv2d)
    rank = len(first.weight) if not isinstance(first, nn.Embedding) else first.embedding_dim
    left, right = factors.left[:, :rank], factors.right[:rank]
    with torch.no_grad():
        if isinstance(first, nn.Embedding):
            first.weight.copy_(left)
            second.weight.copy_(right.T)
            return
        if factors.form == "spatial":
            n_out, _, _, width = second.weight.shape
            first.weight.copy_(right.reshape(first.weight.shape))
            second.weight.copy_(left.reshape(n_out, width, rank).transpose(1, 2).reshape(second.weight.shape))
        else:
            first.weight.copy_(right.reshape(first.weight.shape))
            second.weight.copy_(left.reshape(second.weight.shape))
        if second.bias is not None and not isinstance(module, nn.Embedding):
            assert module.bias is not None
            second.bias.copy_(module.bias)


def split_(model: nn.Module, forms: Mapping[str, Form]) -> None:
    """Put empty pairs of rank 1 in place of the named layers, in place; their real sizes come from the recorded layers."""
    for name, form in forms.items():
        module = model.get_submodule(name)
        assert isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding)
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, split_layer(module, form, 1))


def widen_embeddings_(model: nn.Module, forms: Mapping[str, Form]) -> None:
    """Give the embeddings of pairs the rank that their linear layer, once it has its recorded size, shows; in place."""
    for name in forms:
        pair = model.get_submodule(name)
        assert isinstance(pair, nn.Sequential)
        first, second = pair[0], pair[1]
        if isinstance(first, nn.Embedding) and isinstance(second, nn.Linear):
            pair[0] = nn.Embedding(
                first.num_embeddings, second.in_features, padding_idx=first.padding_idx, device=first.weight.device
            )


def _as_matrix(module: Factorable, form: Form) -> Tensor:
    weight = module.weight.detach()
    if form == "spatial":  # (out * width, in * height): what the second and the first convolution see
        n_out, n_in, height, width = weight.shape
        return weight.permute(0, 3, 1, 2).reshape(n_out * width, n_in * height)
    return weight.flatten(1)


def _split_convolution(module: nn.Conv2d, form: Form, rank: int, has_bias: bool) -> nn.Sequential:
    device = module.weight.device
    (height, width), (stride_y, stride_x) = module.kernel_size, module.stride
    assert not isinstance(module.padding, str)
    (pad_y, pad_x), (gap_y, gap_x) = module.padding, module.dilation
    n_in, n_out = module.in_channels, module.out_channels
    if form == "spatial":
        first = nn.Conv2d(n_in, rank, (height, 1), (stride_y, 1), (pad_y, 0), (gap_y, 1), bias=False, device=device)
        second = nn.Conv2d(rank, n_out, (1, width), (1, stride_x), (0, pad_x), (1, gap_x), bias=has_bias, device=device)
        return nn.Sequential(first, second)
    first = nn.Conv2d(
        n_in, rank, (height, width), (stride_y, stride_x), (pad_y, pad_x), (gap_y, gap_x), bias=False, device=device
    )
    return nn.Sequential(first, nn.Conv2d(rank, n_out, 1, bias=has_bias, device=device))
