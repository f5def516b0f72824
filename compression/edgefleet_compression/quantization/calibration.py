"""Find activation ranges, and re-estimate BatchNorm, from samples of the training split."""

import torch
from torch import Tensor, nn

from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.evaluate import as_tensor, random_input
from edgefleet_compression.quantization.graph import list_points
from edgefleet_compression.structure import InputSpec

CALIBRATION_BATCH = 128
BATCHNORM_BATCH = 256


def calibrate_(model: nn.Module, samples: Tensor) -> None:
    """Set every activation point's scale and zero point from the smallest and largest value over ``samples``."""
    points = list_points(model).values()
    model.eval()
    for point in points:
        point.mode, point.low, point.high = "observe", None, None
    with torch.no_grad():
        for batch in torch.split(samples, CALIBRATION_BATCH):
            model(batch)
    for point in points:
        point.settle_()
        point.mode = "fixed"


def follow_ranges_(model: nn.Module) -> None:
    """Let every activation point's range follow the batches while the network trains."""
    for point in list_points(model).values():
        point.mode = "follow"


def fix_ranges_(model: nn.Module) -> None:
    """Fix scales and zero points, and forget the observed ranges: the network is as it will be saved."""
    for point in list_points(model).values():
        point.mode, point.low, point.high = "fixed", None, None
    model.eval()


def reestimate_batchnorm_(model: nn.Module, samples: Tensor) -> bool:
    """Set running means and variances to their plain average over ``samples``; return False without BatchNorm.

    Batches have nearly equal sizes, so the average weighs every sample alike. Doing it twice changes nothing.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return False
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    with torch.no_grad():
        for batch in samples.tensor_split(max(1, round(len(samples) / BATCHNORM_BATCH))):
            model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
    return True


def calibration_samples(data: DataSet | None, spec: InputSpec, *, n_samples: int, seed: int) -> Tensor:
    """Return samples of the training split, chosen by seed; random ones where there is no data (``random_input``)."""
    generator = torch.Generator().manual_seed(seed)
    if data is None:
        return random_input(spec, n_samples=n_samples, generator=generator)
    order = torch.randperm(len(data.train), generator=generator)[:n_samples]
    return as_tensor(data.train.x)[order]
