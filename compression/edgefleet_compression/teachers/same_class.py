"""The network itself, asked about another sample of the same class."""

import torch
from torch import Tensor

from edgefleet_compression.checkpoints import State
from edgefleet_compression.teachers.teacher import Teacher
from edgefleet_compression.training.ingredient import Batch, Run


class SameClassTeacher(Teacher):
    """Class-wise self-distillation: samples of one class should get one answer (Yun et al. 2020, arXiv:2003.13964, eq. 2).

    Needs no past of the training, so it can teach from the first step: what early pruning with self-distillation builds on
    (Chen et al. 2024, arXiv:2402.00084).
    """

    def __init__(self, samples: Tensor, labels: Tensor, *, seed: int) -> None:
        """samples: (n, ...) and labels: (n,) of the training split."""
        self._samples = samples
        self._generator = torch.Generator().manual_seed(seed)
        self._by_class = {int(label): torch.nonzero(labels == label).flatten() for label in set(labels.tolist())}

    @property
    def is_ready(self) -> bool:
        """True from the start."""
        return True

    def logits(self, batch: Batch) -> Tensor:
        """Return the network's logits (n, n_classes) of one partner for each sample, as constants."""
        partners = torch.stack([self._partner(int(label)) for label in batch.y])
        with torch.no_grad():
            answer: Tensor = batch.model(self._samples[partners].to(batch.x.device))
        return answer

    def state(self) -> State:
        """Return the state of the choice of partners."""
        return {"generator": self._generator.get_state()}

    def restore(self, run: Run, state: State) -> None:  # noqa: ARG002 - the signature of all teachers
        """Go on from a state."""
        self._generator.set_state(state["generator"])

    def _partner(self, label: int) -> Tensor:
        choices = self._by_class[label]
        return choices[torch.randint(len(choices), (), generator=self._generator)]
