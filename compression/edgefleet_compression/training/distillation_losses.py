"""Losses between a student and its teacher. Pure functions of logits or activations."""

import torch
import torch.nn.functional as F
from torch import Tensor

MASKED: float = -1e9
"""Logit of a class that is left out: its probability becomes zero."""


def softened_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || student) at temperature T, mean over the batch; T^2 keeps the gradients' size.

    student, teacher: logits (n, k). Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    return temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )


def decoupled_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, *, non_target_weight: float
) -> Tensor:
    """Return TCKD + beta NCKD, times T^2 (Zhao et al. 2022, arXiv:2203.08679, equation 7 with alpha 1).

    TCKD compares how likely the true class is at all, NCKD how the rest is shared among the other classes.
    student, teacher: logits (n, k); labels: (n,).
    """
    is_target = F.one_hot(labels, student.shape[1]).bool()
    pairs = [_target_and_rest(logits / temperature, is_target) for logits in (student, teacher)]
    target = F.kl_div(pairs[0], pairs[1], reduction="batchmean", log_target=True)
    others = [
        F.log_softmax((logits / temperature).masked_fill(is_target, MASKED), dim=1) for logits in (student, teacher)
    ]
    rest = F.kl_div(others[0], others[1], reduction="batchmean", log_target=True)
    return temperature**2 * (target + non_target_weight * rest)


def _target_and_rest(logits: Tensor, is_target: Tensor) -> Tensor:
    """Return the log probabilities (n, 2) of the true class and of all others together."""
    log_p = F.log_softmax(logits, dim=1)
    target = log_p[is_target].unsqueeze(1)
    rest = torch.logsumexp(log_p.masked_fill(is_target, MASKED), dim=1, keepdim=True)
    return torch.cat([target, rest], dim=1)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of normalised attention maps (Zagoruyko & Komodakis 2017, arXiv:1612.03928, eq. 2).

    student, teacher: activations (n, channels, h, w) of equal h and w; channel counts may differ.
    """

    def attention(activations: Tensor) -> Tensor:
        return F.normalize(activations.square().mean(dim=1).flatten(1), dim=1)

    return (attention(student) - attention(teacher)).square().mean()


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of activations of one shape (Romero et al. 2015, arXiv:1412.6550, equation 3)."""
    return F.mse_loss(student, teacher)
