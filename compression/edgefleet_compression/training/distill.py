"""Ingredient: learn from a teacher's softened logits (Hinton et al. 2015, arXiv:1503.02531, section 2)."""

import torch.nn.functional as F
from torch import Tensor

from edgefleet_compression.passes.specs import Distill
from edgefleet_compression.teachers import Teacher
from edgefleet_compression.training.ingredient import TrainingIngredient


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || student) at temperature T, mean over the batch; T^2 keeps the gradients' size."""
    return temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )


class DistillIngredient(TrainingIngredient):
    """Mixes the teacher's loss with the labels' loss."""

    def __init__(self, spec: Distill, teacher: Teacher) -> None:
        self.spec = spec
        self._teacher = teacher

    def mix_loss(self, loss: Tensor, logits: Tensor, indices: Tensor) -> Tensor:
        """Return alpha * distillation + (1 - alpha) * labels."""
        distillation = distillation_loss(logits, self._teacher.logits(indices), self.spec.temperature)
        return self.spec.alpha * distillation + (1.0 - self.spec.alpha) * loss
