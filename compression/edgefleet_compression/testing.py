"""Small values for tests of this package and of those that build on it: a learnable data set and a tiny network."""

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.data import keywords
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.splitting import split_seeded
from edgefleet_compression.tasks import new_candidate

N_CLASSES: Final = 4
IMAGE_SIDE: Final = 8
TEXT_LENGTH: Final = 8
TINY_TEXT_ARGUMENTS: Final = {"width": 16, "n_heads": 4, "n_layers": 1, "feed_forward": 32}
TINY_ARGUMENTS: Final = {"stem_width": 16, "widths": [16, 32], "blocks": [1, 1]}


def tiny_data(*, n_samples: int = 200, seed: int = 0) -> DataSet:
    """Return images (n, 1, 8, 8) of four classes, each with one bright quadrant in noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_samples, dtype=np.int64) % N_CLASSES
    x = rng.normal(0.0, 0.5, size=(n_samples, 1, IMAGE_SIDE, IMAGE_SIDE)).astype(np.float32)
    half = IMAGE_SIDE // 2
    for image, label in zip(x, y, strict=True):
        row, column = divmod(int(label), 2)
        image[0, row * half : (row + 1) * half, column * half : (column + 1) * half] += 1.5
    return split_seeded("tiny", {"x": x}, y, seed=seed)


def tiny_candidate(*, seed: int = 0) -> TorchCandidate:
    """Return an untrained residual network of about 20,000 parameters for ``tiny_data``."""
    return new_candidate("resnet", TINY_ARGUMENTS, tiny_data(), seed=seed)


def tiny_text_data(*, n_samples: int = 200, seed: int = 0) -> DataSet:
    """Return token ids (n, 8) below 16 of four classes: the synthetic keywords task."""
    return keywords.load(seed, n_samples=n_samples, length=TEXT_LENGTH, vocabulary=16)


def tiny_text_candidate(*, seed: int = 0) -> TorchCandidate:
    """Return an untrained transformer encoder of about 3,000 parameters for ``tiny_text_data``."""
    return new_candidate("transformer", TINY_TEXT_ARGUMENTS, tiny_text_data(), seed=seed)


def tiny_onnx(*, seed: int = 0) -> onnx.ModelProto:
    """Return a person's own graph, made with onnx alone: convolution 3x3 (1 -> 4), ReLU, global pooling, linear to 4."""
    rng = np.random.default_rng(seed)
    constants = {
        "conv.weight": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "conv.bias": np.zeros(4, np.float32),
        "head.weight": rng.normal(size=(N_CLASSES, 4)).astype(np.float32),
        "head.bias": np.zeros(N_CLASSES, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, IMAGE_SIDE, IMAGE_SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", N_CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
