"""Number formats of a candidate and of the file made of it. Torch-free."""

from typing import Final, Literal, get_args

Precision = Literal["fp32", "fp16", "int8", "int8-dynamic", "int8-weights", "int4-weights", "int4"]
"""fp32, fp16: floats. int8: integer weights and activations with ranges found beforehand. int8-dynamic: integer weights,
activations quantized while running. int8-weights, int4-weights: integer weights, computed in float. int4: activations of 4
bits; the file rounds to them, and the runtime computes in float."""

PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)
