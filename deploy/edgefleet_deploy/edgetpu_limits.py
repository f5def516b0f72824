"""The checks behind the limits of edgetpu_rules: each returns what is in the way of an operator, or None."""

from collections.abc import Callable, Mapping
from typing import Final

from edgefleet_deploy.edgetpu_model import Operator, Tensor
from edgefleet_deploy.edgetpu_rules import RULES, OperatorRule

Check = Callable[[Operator], str | None]

DATA_DTYPES: Final = ("int8", "uint8")
STATE_DTYPES: Final = ("int8", "uint8", "int16")
"""A recurrent layer's cell state has 16 bits (the LSTM of google-coral/test_data, which maps)."""
SOFTMAX_ELEMENTS: Final = 16_000
INNERMOST: Final = 3
_NO_RULE: Final = OperatorRule("")


def find_reason(operator: Operator, code: str) -> str | None:
    """Return what is in the way under this limit, or None."""
    return CHECKS[code](operator)


def data_tensors(operator: Operator) -> list[Tensor]:
    """Return the inputs that are data, constants among them, and the outputs."""
    return [t for i, t in _present_inputs(operator) if _role(operator, i) is None] + list(operator.outputs)


def _role(operator: Operator, position: int) -> str | None:
    return RULES.get(operator.name, _NO_RULE).roles.get(position)


def _present_inputs(operator: Operator) -> list[tuple[int, Tensor]]:
    return [(position, tensor) for position, tensor in enumerate(operator.inputs) if tensor is not None]


def _dtype(operator: Operator) -> str | None:
    wanted: Mapping[str | None, tuple[str, ...]] = {
        None: DATA_DTYPES,
        "weights": DATA_DTYPES,
        "bias": ("int32",),
        "state": STATE_DTYPES,
        "parameter": ("int32",),
    }
    for position, tensor in _present_inputs(operator):
        role = _role(operator, position)
        if tensor.dtype not in wanted[role]:
            return f"input {position} ({role or 'data'}) is {tensor.dtype}, not {' or '.join(wanted[role])}"
    found = next((t for t in operator.outputs if t.dtype not in DATA_DTYPES), None)
    return None if found is None else f"an output is {found.dtype}, not {' or '.join(DATA_DTYPES)}"


def _dynamic(operator: Operator) -> str | None:
    """A free batch whose size in the file is 1 is none: interpreters allocate by the shape, not by the signature."""
    for tensor in data_tensors(operator):
        free = [i for i, size in enumerate(tensor.signature) if size < 0 and not (i == 0 and tensor.shape[:1] == (1,))]
        if free or any(size < 0 for size in tensor.shape):
            return f"tensor {tensor.name!r} has free dimensions: {list(tensor.signature)}"
    return None


def _rank(operator: Operator) -> str | None:
    outer = next((t for t in data_tensors(operator) if any(size > 1 for size in t.shape[:-INNERMOST])), None)
    return None if outer is None else f"tensor {outer.name!r} has the shape {list(outer.shape)}"


def _constant(operator: Operator) -> str | None:
    for position, tensor in _present_inputs(operator):
        role = _role(operator, position)
        if role in ("parameter", "weights", "bias") and not tensor.is_constant:
            return f"input {position} ({role}) is computed, not a constant"
    return None


def _activation(operator: Operator) -> str | None:
    return "it has a fused activation" if operator.options.get("fused_activation") else None


def _dilation(operator: Operator) -> str | None:
    x, y = operator.options["dilation_w"], operator.options["dilation_h"]
    return None if x == y else f"dilation is {x} in x and {y} in y"


def _concat_constant(operator: Operator) -> str | None:
    constants = [t for _, t in _present_inputs(operator) if t.is_constant]
    if not constants:
        return None
    if len(operator.inputs) != 2 or len(constants) != 1:
        return f"{len(constants)} of its {len(operator.inputs)} inputs are constants"
    zero = constants[0].zero_point & 0xFF
    is_zero = all(value == zero for value in constants[0].content or b"")
    return None if is_zero else "its constant input is not all zero"


def _weights_format(operator: Operator) -> str | None:
    return "its weights are shuffled" if operator.options["weights_format"] else None


def _is_1d(tensor: Tensor | None) -> bool:
    return tensor is None or all(size == 1 for size in tensor.shape[:-1])


def _output_1d(operator: Operator) -> str | None:
    wide = next((t for t in operator.outputs if not _is_1d(t)), None)
    return None if wide is None else f"its output has the shape {list(wide.shape)}"


def _input_1d(operator: Operator) -> str | None:
    data = operator.inputs[0] if operator.inputs else None
    return None if data is None or _is_1d(data) else f"its input has the shape {list(data.shape)}"


def _softmax_length(operator: Operator) -> str | None:
    data = operator.inputs[0] if operator.inputs else None
    length = data.shape[-1] if data is not None and data.shape else 1
    return None if length <= SOFTMAX_ELEMENTS else f"its input has {length} elements"


def _axes(operator: Operator) -> set[int]:
    """Return the axes along which an operator works, counted from the front; empty where they are not known."""
    is_pack = operator.name == "PACK"
    rank = len(operator.outputs[0].shape) if is_pack and operator.outputs else _rank_of_data(operator)
    return {axis + rank if axis < 0 else axis for axis in _stated_axes(operator)}


def _stated_axes(operator: Operator) -> tuple[int, ...]:
    """Return them as the operator states them; negative ones count from the end."""
    if operator.name == "PACK":
        return (operator.options["axis"],)
    if operator.name == "PAD":
        return _padded_axes(operator)
    position = 0 if operator.name == "SPLIT" else 1
    tensor = operator.inputs[position] if position < len(operator.inputs) else None
    return (None if tensor is None else tensor.integers()) or ()


def _rank_of_data(operator: Operator) -> int:
    data = data_tensors(operator)
    return len(data[0].shape) if data else 0


def _padded_axes(operator: Operator) -> tuple[int, ...]:
    tensor = operator.inputs[1] if len(operator.inputs) > 1 else None
    amounts = (None if tensor is None else tensor.integers()) or ()
    return tuple(axis for axis in range(len(amounts) // 2) if any(amounts[2 * axis : 2 * axis + 2]))


def _batch_axis(operator: Operator) -> str | None:
    """Only four dimensions and more have a batch beside y, x and z."""
    has_batch = any(len(t.shape) > INNERMOST for t in data_tensors(operator))
    return "it works along axis 0" if has_batch and 0 in _axes(operator) else None


def _channels(operator: Operator) -> str | None:
    data = operator.inputs[0] if operator.inputs else None
    if data is None or not data.shape or len(data.shape) - 1 not in _axes(operator) or data.shape[-1] % 4 == 0:
        return None
    return f"it reduces {data.shape[-1]} channels"


def _alpha(operator: Operator) -> str | None:
    alpha = operator.inputs[1] if len(operator.inputs) > 1 else None
    return None if alpha is None or _is_1d(alpha) else f"alpha has the shape {list(alpha.shape)}"


def _squeeze(operator: Operator) -> str | None:
    before = operator.inputs[0].shape if operator.inputs and operator.inputs[0] is not None else ()
    after = operator.outputs[0].shape if operator.outputs else ()
    if _without_leading_ones(before) == _without_leading_ones(after):
        return None
    return f"it turns {list(before)} into {list(after)}"


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]


def _strides(operator: Operator) -> str | None:
    tensor = operator.inputs[3] if len(operator.inputs) > 3 else None
    strides = (None if tensor is None else tensor.integers()) or ()
    return None if all(stride == 1 for stride in strides) else f"its strides are {list(strides)}"


def _masks(operator: Operator) -> str | None:
    masked = operator.options["ellipsis_mask"] or operator.options["new_axis_mask"]
    return "it has an ellipsis or a new-axis mask" if masked else None


CHECKS: Final[Mapping[str, Check]] = {
    "dtype_unsupported": _dtype,
    "shape_dynamic": _dynamic,
    "rank_unsupported": _rank,
    "parameter_not_constant": _constant,
    "fused_activation": _activation,
    "dilation_unequal": _dilation,
    "concat_constant": _concat_constant,
    "weights_format": _weights_format,
    "output_not_1d": _output_1d,
    "input_not_1d": _input_1d,
    "softmax_too_long": _softmax_length,
    "batch_axis": _batch_axis,
    "channels_not_multiple_of_4": _channels,
    "alpha_not_1d": _alpha,
    "squeeze_inner": _squeeze,
    "stride_not_1": _strides,
    "slice_mask": _masks,
}
"""Limit code -> its check."""
