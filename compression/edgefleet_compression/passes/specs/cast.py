from typing import Literal

from pydantic import Field

from edgefleet_compression.passes.specs.base import Spec


class Cast(Spec):
    """Store and compute floats in another type; carried out by the compiler, last."""

    kind: Literal["cast"] = "cast"
    dtype: Literal["float16"] = Field("float16", description="Type of weights and activations in the file.")
