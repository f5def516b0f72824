"""Tensors of TensorFlow Lite's interpreters, whoever built the interpreter."""

from typing import Any, Dict, List

import numpy as np

from edgefleet_agent.runner.backend import Arrays, Model, TensorFacts


def tensor_facts(item: "Dict[str, Any]") -> TensorFacts:
    """An entry of get_input_details or get_output_details as the runner's facts."""
    return TensorFacts(item["name"], [int(dim) for dim in item["shape"]], np.dtype(item["dtype"]).name)


def to_input(array: "np.ndarray[Any, Any]", item: "Dict[str, Any]") -> "np.ndarray[Any, Any]":
    """Quantize real numbers for an integer input: q = round(x / scale) + zero_point, saturating."""
    dtype = np.dtype(item["dtype"])
    scale, zero_point = item["quantization"]
    if scale and array.dtype.kind == "f" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        array = np.clip(np.round(array / scale) + zero_point, limits.min, limits.max)
    return np.ascontiguousarray(array, dtype=dtype)


def from_output(array: "np.ndarray[Any, Any]", item: "Dict[str, Any]") -> "np.ndarray[Any, Any]":
    """Real numbers of an integer output that has a scale; any other output as it is."""
    scale, zero_point = item["quantization"]
    if scale and array.dtype.kind in "iu":
        return (array.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return array


def as_model(interpreter: Any, facts: "Dict[str, Any]") -> Model:
    """The model behind an interpreter whose tensors are allocated."""
    details = interpreter.get_input_details()

    def prepare(arrays: Arrays) -> "List[Any]":
        return [(item["index"], to_input(arrays[item["name"]], item)) for item in details]

    def invoke(prepared: "List[Any]") -> None:
        for index, array in prepared:
            interpreter.set_tensor(index, array)
        interpreter.invoke()

    def read_outputs(_result: None) -> "List[np.ndarray[Any, Any]]":
        return [from_output(interpreter.get_tensor(item["index"]), item) for item in interpreter.get_output_details()]

    return Model(
        inputs=[tensor_facts(item) for item in details],
        outputs=[tensor_facts(item) for item in interpreter.get_output_details()],
        facts=facts,
        prepare=prepare,
        invoke=invoke,
        read_outputs=read_outputs,
    )
