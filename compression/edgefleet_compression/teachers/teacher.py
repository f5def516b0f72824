"""What a teacher is."""

import torch
from torch import Tensor, nn

from edgefleet_compression.training.ingredient import Run


class Teacher:
    """One or several networks whose outputs are the targets of distillation. May change while training goes on."""

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The networks that answer, in eval mode; empty as long as there are none."""
        return ()

    def logits(self, x: Tensor, indices: Tensor) -> Tensor:  # noqa: ARG002 - the signature of all teachers
        """Return logits (n, n_classes) of a batch: of the mean probabilities where several networks answer."""
        with torch.no_grad():
            answers: list[Tensor] = [network(x) for network in self.networks]
        if len(answers) == 1:
            return answers[0]
        return torch.stack([answer.softmax(dim=1) for answer in answers]).mean(dim=0).clamp(min=1e-12).log()

    def after_step(self, run: Run) -> None:
        """Look at the network after an optimizer step."""

    def after_evaluation(self, run: Run) -> None:
        """Look at the network after an epoch's evaluation."""
