"""A small generator, trained against a rounded student: images on which rounding shows (GDFQ and ZAQ).

Xu et al. 2020, "Generative Low-bitwidth Data Free Quantization", arXiv:2003.03603, for the generator and its losses; Liu et al.
2021, "Zero-shot Adversarial Quantization", arXiv:2103.15263, for the discrepancy between network and student.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.child import Emit
from edgefleet_compression.datafree.statistics import StatisticsLoss
from edgefleet_compression.passes.specs import ActivationFormat, Synthesis, WeightFormat
from edgefleet_compression.quantization.calibration import calibrate_
from edgefleet_compression.quantization.graph import fold_batchnorm, insert_fake_quant_

N_NOISE: Final = 64
WIDTH: Final = 64
GENERATOR_RATE: Final = 1e-3
STUDENT_RATE: Final = 1e-4
"""Adam; GDFQ trains its generator at 1e-3 and the student 1e-4 with other optimizers."""

WARM_UP: Final = 0.2
"""Share of the steps in which the generator trains alone, so that the student's ranges are found on images."""


class Generator(nn.Module):
    """Noise and a class to an image: two doublings of a quarter-size map, with BatchNorm between convolutions."""

    def __init__(self, shape: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        self._side = (height, width)
        self._start = (WIDTH, -(-height // 4), -(-width // 4))
        self.classes = nn.Embedding(n_classes, N_NOISE)
        self.first = nn.Linear(N_NOISE, WIDTH * self._start[1] * self._start[2])
        self.layers = nn.Sequential(
            nn.BatchNorm2d(WIDTH),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.BatchNorm2d(WIDTH),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(WIDTH, WIDTH // 2, 3, padding=1),
            nn.BatchNorm2d(WIDTH // 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(WIDTH // 2, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Map (n, 64) and (n,) to (n, channels, height, width)."""
        first = self.first(noise * self.classes(labels)).view(-1, *self._start)
        images: Tensor = self.layers(first)[:, :, : self._side[0], : self._side[1]]
        return images


def generate_images(
    model: nn.Module,
    shape: tuple[int, ...],
    n_classes: int,
    spec: Synthesis,
    *,
    formats: tuple[WeightFormat, ActivationFormat | None],
    seed: int,
    emit: Emit,
) -> Tensor:
    """Return images (n_samples, ...) of a generator trained against a student with these formats."""
    noise = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(shape, n_classes)
    _train(generator, model, n_classes, spec, formats, noise, emit)
    generator.eval()
    with torch.no_grad():
        parts = [_draw(generator, n_classes, spec, noise)[0] for _ in range(-(-spec.n_samples // spec.batch_size))]
    return torch.cat(parts)[: spec.n_samples]


def _train(
    generator: Generator,
    model: nn.Module,
    n_classes: int,
    spec: Synthesis,
    formats: tuple[WeightFormat, ActivationFormat | None],
    noise: torch.Generator,
    emit: Emit,
) -> None:
    drawing = torch.optim.Adam(generator.parameters(), lr=GENERATOR_RATE)
    student, learning = None, None
    with StatisticsLoss(model) as statistics:
        for step in range(spec.steps):
            if step % 50 == 0:
                emit(step / spec.steps, f"generator step {step} of {spec.steps}")
            if student is None and step >= WARM_UP * spec.steps:
                with torch.no_grad():
                    student = _make_student(model, formats, _draw(generator, n_classes, spec, noise)[0])
                learning = torch.optim.Adam(student.parameters(), lr=STUDENT_RATE)
                statistics.forget()
            images, labels = _draw(generator, n_classes, spec, noise)
            answers = model(images)
            loss = statistics.take() + spec.label_weight * F.cross_entropy(answers, labels)
            if student is not None:
                loss = loss - spec.adversarial_weight * (answers - student(images)).abs().mean()
            _step(drawing, loss)
            if student is not None and learning is not None:
                answer = F.log_softmax(student(images.detach()), dim=1)
                wanted = F.log_softmax(answers.detach(), dim=1)
                _step(learning, F.kl_div(answer, wanted, log_target=True, reduction="batchmean"))


def _make_student(model: nn.Module, formats: tuple[WeightFormat, ActivationFormat | None], images: Tensor) -> nn.Module:
    student = fold_batchnorm(model).requires_grad_()
    insert_fake_quant_(student, *formats)
    if formats[1] is not None:
        calibrate_(student, images)
    return student.eval()


def _draw(generator: Generator, n_classes: int, spec: Synthesis, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    labels = torch.randint(0, n_classes, (spec.batch_size,), generator=noise)
    return generator(torch.randn(spec.batch_size, N_NOISE, generator=noise), labels), labels


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
