"""Find activation ranges from samples of the training split."""

from typing import Final

import torch
from torch import Tensor, nn

from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.evaluate import as_tensor, random_input
from edgefleet_compression.passes.specs import Calibration
from edgefleet_compression.quantization.graph import list_points
from edgefleet_compression.quantization.observers import OBSERVERS
from edgefleet_compression.structure import InputSpec

CALIBRATION_BATCH = 128
MINMAX: Final = Calibration()


def calibrate_(model: nn.Module, samples: Tensor, calibration: Calibration = MINMAX) -> None:
    """Set every activation point's scale and zero point from the values over ``samples``, by the spec's observer."""
    points = list_points(model).values()
    model.eval()
    for point in points:
        point.mode, point.low, point.high, point.histogram = "observe", None, None, None
    _run(model, samples)
    if calibration.observer != "minmax":
        for point in points:
            point.mode = "count"
        _run(model, samples)
    for point in points:
        if point.histogram is not None:
            ends = OBSERVERS[calibration.observer](point.histogram, point.n_levels, calibration)
            point.low, point.high = (torch.tensor(end, device=point.scale.device) for end in ends)
            point.histogram = None
        point.settle_()
        point.mode = "fixed"


def _run(model: nn.Module, samples: Tensor) -> None:
    with torch.no_grad():
        for batch in torch.split(samples, CALIBRATION_BATCH):
            model(batch)


def follow_ranges_(model: nn.Module) -> None:
    """Let every activation point's range follow the batches while the network trains; learned scales keep to theirs."""
    for point in list_points(model).values():
        if not isinstance(point.scale, nn.Parameter):
            point.mode = "follow"


def learn_ranges_(model: nn.Module) -> None:
    """Make the scales of points whose format says so parameters, in place."""
    for point in list_points(model).values():
        if point.is_learned:
            point.learn_()


def fix_ranges_(model: nn.Module) -> None:
    """Fix scales and zero points, and forget the observed ranges: the network is as it will be saved."""
    for point in list_points(model).values():
        point.fix_()
    model.eval()


def calibration_samples(data: DataSet | None, spec: InputSpec, *, n_samples: int, seed: int) -> Tensor:
    """Return samples of the training split, chosen by seed; random ones where there is no data (``random_input``)."""
    generator = torch.Generator().manual_seed(seed)
    if data is None:
        return random_input(spec, n_samples=n_samples, generator=generator)
    order = torch.randperm(len(data.train), generator=generator)[:n_samples]
    return as_tensor(data.train.x)[order]
