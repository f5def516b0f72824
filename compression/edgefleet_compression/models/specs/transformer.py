from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.models.specs.base import Arguments, Depth, InputType, Width, scale_depth

PADDING_ID = 0
"""Token id that means: there is no token here."""


class TransformerArguments(Arguments):
    """A transformer encoder (Vaswani et al. 2017, arXiv:1706.03762) with a classifier, in the shape of BERT (Devlin et al.
    2019, arXiv:1810.04805). Input: token ids of one fixed length; id 0 is padding, from which it makes its own mask.
    """

    vocabulary: Annotated[int, Field(ge=2, le=65536)] = Field(64, description="Token ids lie below this.")
    length: Annotated[int, Field(ge=1, le=4096)] = Field(16, description="Tokens of a sample, padding included.")
    width: Width = Field(32, description="Width of the hidden states.")
    n_layers: Depth = Field(2, description="Encoder layers.")
    n_heads: Annotated[int, Field(ge=1, le=64)] = Field(2, description="Attention heads per layer; they divide width.")
    feed_forward: Annotated[int, Field(ge=1, le=16384)] = Field(64, description="Width inside the feed-forward part.")
    norm: Literal["post", "pre"] = Field(
        "post", description="LayerNorm after the residual sum (BERT) or before each part, with one more at the end."
    )
    norm_eps: float = Field(1e-12, gt=0.0, le=0.1, description="Added to the variance in LayerNorm.")
    pooling: Literal["mean", "cls"] = Field(
        "mean", description="mean over the tokens that are no padding, or the first."
    )
    n_token_types: Annotated[int, Field(ge=0, le=16)] = Field(
        0, description="Rows of the token type table (BERT has 2; the first is used); 0: none."
    )
    has_pooler: bool = Field(False, description="A dense layer with tanh before the classifier, as BERT has.")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout while training, at BERT's places but the softmax.")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "TransformerArguments":
        if self.width % self.n_heads:
            raise PydanticCustomError("heads_mismatch", "n_heads must divide width.")
        return self

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.n_heads

    @property
    def input_type(self) -> InputType:
        """Token ids."""
        return "int64"

    @property
    def n_values(self) -> int | None:
        """Size of the vocabulary."""
        return self.vocabulary

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return True for exactly ``length`` tokens."""
        return shape == (self.length,)

    def describe_input(self) -> str:
        """Return in words which tokens it takes."""
        return f"token ids (int64) of shape [{self.length}]"

    @classmethod
    def from_data(cls, shape: tuple[int, ...], n_values: int) -> Mapping[str, Any]:
        """Return length and vocabulary of the samples."""
        return {"length": shape[0], "vocabulary": max(2, n_values)}

    def scaled(self, *, width_ratio: float, depth_ratio: float) -> "TransformerArguments":
        """Return a smaller network: fewer heads of the same width, a feed-forward part in proportion, fewer layers."""
        n_heads = max(1, round(self.n_heads * width_ratio))
        return self.model_copy(
            update={
                "n_heads": n_heads,
                "width": n_heads * self.head_width,
                "feed_forward": max(1, round(self.feed_forward * width_ratio)),
                "n_layers": scale_depth(self.n_layers, depth_ratio),
            }
        )
