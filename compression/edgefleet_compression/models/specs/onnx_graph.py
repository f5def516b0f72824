"""A person's ONNX graph as an architecture: a bounded list of plain layers and functions, written by ``conversion``.

Nothing of the original file but this document and its weights is kept, so that a candidate is rebuilt without ONNX.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.errors import PassRefused
from edgefleet_compression.models.specs.base import Arguments, InputType

INPUT: Final = "input"
"""Name by which nodes refer to the network's input."""

MAX_NODES: Final = 4096
MAX_NUMBERS: Final = 65536
"""Numbers of one list in the document; larger constants are tensors of the file."""

NodeName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=96)]
Whole = Annotated[int, Field(strict=True, ge=-(2**31), le=2**31)]
Number = Whole | Annotated[float, Field(strict=True, allow_inf_nan=False)]
Setting = (
    Number | Annotated[str, Field(max_length=16)] | Annotated[tuple[Number | None, ...], Field(max_length=MAX_NUMBERS)]
)
Dimension = Annotated[int, Field(ge=1, le=65536)]

LayerOperator = Literal[
    "conv2d",
    "linear",
    "batchnorm2d",
    "layernorm",
    "embedding",
    "relu",
    "relu6",
    "hardtanh",
    "leaky_relu",
    "elu",
    "sigmoid",
    "tanh",
    "hardsigmoid",
    "hardswish",
    "silu",
    "gelu",
    "softplus",
    "softmax",
    "maxpool2d",
    "avgpool2d",
    "global_avgpool2d",
    "global_maxpool2d",
    "zeropad2d",
    "flatten",
    "constant",
    "literal",
]
FunctionOperator = Literal[
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "matmul",
    "concat",
    "reshape",
    "permute",
    "squeeze",
    "unsqueeze",
    "slice",
    "select",
    "index_select",
    "mean",
    "sum",
    "amax",
    "sqrt",
    "exp",
    "log",
    "neg",
    "abs",
    "erf",
    "equal",
    "logical_not",
    "where",
    "to_float",
    "to_bool",
    "to_int64",
]

SettingName = Literal[
    "approximate",
    "alpha",
    "bias",
    "ceil_mode",
    "count_include_pad",
    "dilation",
    "dim",
    "dims",
    "embedding_dim",
    "eps",
    "groups",
    "in_channels",
    "in_features",
    "index",
    "keepdim",
    "kernel_size",
    "kind",
    "max_val",
    "min_val",
    "negative_slope",
    "normalized_shape",
    "num_embeddings",
    "num_features",
    "out_channels",
    "out_features",
    "padding",
    "shape",
    "start",
    "step",
    "stop",
    "stride",
    "values",
]
"""Settings of layers and functions; a document cannot name others, such as the device of its weights."""


class GraphNode(BaseModel):
    """One layer or function."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: NodeName
    op: LayerOperator | FunctionOperator
    inputs: tuple[NodeName | Number, ...] = Field((), max_length=64, description="Names of earlier nodes, or numbers.")
    settings: dict[SettingName, Setting] = Field(
        default_factory=dict, max_length=16, description="As the layer's builder takes it."
    )


class OnnxGraphArguments(Arguments):
    """The nodes in an order in which each follows its inputs."""

    sample_shape: tuple[Dimension, ...] = Field(min_length=1, max_length=5, description="Of one sample.")
    sample_type: InputType = Field("float32", description="Type of the samples; int64: token ids.")
    vocabulary: Annotated[int, Field(ge=2, le=65536)] | None = Field(None, description="Token ids lie below this.")
    nodes: tuple[GraphNode, ...] = Field(min_length=1, max_length=MAX_NODES, description="The graph.")
    output: NodeName = Field(description="Node that gives the classes' scores.")

    @model_validator(mode="after")
    def _is_ordered(self) -> "OnnxGraphArguments":
        known = {INPUT}
        for node in self.nodes:
            unknown = [item for item in node.inputs if isinstance(item, str) and item not in known]
            if unknown or node.name in known:
                raise PydanticCustomError(
                    "graph_order", "A node of the graph is named twice or comes before its inputs."
                )
            known.add(node.name)
        if self.output not in known:
            raise PydanticCustomError("graph_output", "The graph's output is none of its nodes.")
        return self

    def scaled(self, *, width_ratio: float, depth_ratio: float) -> "OnnxGraphArguments":  # noqa: ARG002 - the family's signature
        """Refuse: a single graph says nothing about narrower or wider relatives."""
        raise PassRefused(
            "A network from an ONNX file has no narrower or wider relatives: name the student's (or teacher's) architecture "
            "and arguments, or use structured_prune.",
            code="no_family",
        )

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return True for samples of the graph's own shape."""
        return shape == self.sample_shape

    def describe_input(self) -> str:
        """Return in words which samples it takes."""
        return f"samples of shape {list(self.sample_shape)}"

    @classmethod
    def from_data(cls, shape: tuple[int, ...], n_values: int) -> Mapping[str, Any]:  # noqa: ARG003 - the graph decides
        """Return the samples' shape."""
        return {"sample_shape": shape}

    @property
    def input_type(self) -> InputType:
        """Type of the network's input."""
        return self.sample_type

    @property
    def n_values(self) -> int | None:
        """Token ids lie below this; None for other inputs."""
        return self.vocabulary
