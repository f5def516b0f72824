"""A small trained network with its data, for whoever has no file of their own at hand.

A perceptron of one hidden layer for scikit-learn's 8 x 8 digits, written as ONNX. It is trained here, in about a second, so
that the repository holds no weights. For first steps only: its latency is that of starting a runtime.
"""

from pathlib import Path
from typing import Any

import numpy as np

N_HIDDEN = 64
N_ITERATIONS = 60
OPSET = 17


def write_sample(model: Path, data: Path) -> float:
    """Write the ONNX file and the npz file (x: (1797, 64) float32, y: (1797,)); returns its accuracy on all of the data."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = (digits.data / 16.0).astype(np.float32), digits.target.astype(np.int64)
    network = _train(x, y)
    model.write_bytes(_onnx_of(network))
    with data.open("wb") as file:  # numpy would add .npz to a path
        np.savez(file, x=x, y=y)
    return float(network.score(x, y))


def _train(x: Any, y: Any) -> Any:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(hidden_layer_sizes=(N_HIDDEN,), max_iter=N_ITERATIONS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is good enough, and soon done
        return network.fit(x, y)


def _onnx_of(network: Any) -> bytes:
    from onnx import TensorProto, checker, helper, numpy_helper

    tensors = {
        f"{kind}{layer}": values.astype(np.float32)
        for kind, listed in (("w", network.coefs_), ("b", network.intercepts_))
        for layer, values in enumerate(listed)
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["image", "w0", "b0"], ["hidden"], name="hidden"),
            helper.make_node("Relu", ["hidden"], ["active"], name="active"),
            helper.make_node("Gemm", ["active", "w1", "b1"], ["scores"], name="classify"),
        ],
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    checker.check_model(proto)
    return bytes(proto.SerializeToString())
