"""Optimizers and the course of their learning rate."""

import math

import torch
from torch import nn

from edgefleet_compression.passes.specs import LearningRateSchedule, Optimizer


def make_optimizer(model: nn.Module, spec: Optimizer) -> torch.optim.Optimizer:
    """Return the optimizer of all parameters; weight decay applies to weights of two or more dimensions only."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": spec.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if spec.name == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.momentum > 0)
    factory = torch.optim.Adam if spec.name == "adam" else torch.optim.AdamW
    return factory(groups, lr=spec.lr)


def learning_rate(spec: LearningRateSchedule, *, peak: float, step: int, n_steps: int) -> float:
    """Return the rate of one step: linear warm-up, then the schedule's course over the rest."""
    n_warmup = int(spec.warmup_fraction * n_steps)
    if step < n_warmup:
        return peak * (step + 1) / (n_warmup + 1)
    progress = (step - n_warmup) / max(1, n_steps - n_warmup)
    if spec.name == "restarts":  # Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5
        progress = progress * spec.n_cycles % 1.0
    if spec.name in ("cosine", "restarts"):
        low = peak * spec.final_ratio
        return low + (peak - low) * 0.5 * (1.0 + math.cos(math.pi * progress))
    if spec.name == "step":
        return peak * float(spec.gamma ** sum(progress >= at for at in spec.step_at))
    return peak
