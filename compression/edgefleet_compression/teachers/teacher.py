"""What a teacher is."""

import torch
from torch import Tensor, nn

from edgefleet_compression.checkpoints import State
from edgefleet_compression.training.ingredient import Batch, Run


class Teacher:
    """One or several networks whose outputs are the targets of distillation. May change while training goes on."""

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The networks that answer, in eval mode; empty as long as there are none."""
        return ()

    @property
    def is_ready(self) -> bool:
        """True once there is an answer; until then the labels teach alone."""
        return bool(self.networks)

    def logits(self, batch: Batch) -> Tensor:
        """Return logits (n, n_classes) of a batch: of the mean probabilities where several networks answer."""
        with torch.no_grad():
            answers: list[Tensor] = [network(batch.x) for network in self.networks]
        if len(answers) == 1:
            return answers[0]
        return torch.stack([answer.softmax(dim=1) for answer in answers]).mean(dim=0).clamp(min=1e-12).log()

    def after_step(self, run: Run) -> None:
        """Look at the network after an optimizer step."""

    def after_evaluation(self, run: Run) -> None:
        """Look at the network after an epoch's evaluation."""

    def state(self) -> State:
        """Return what later answers depend on, as plain values and tensors."""
        return {}

    def restore(self, run: Run, state: State) -> None:
        """Go on from a state; ``run`` has its network's form of then, without its values."""
