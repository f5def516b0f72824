"""A transformer encoder with a classifier in plain torch.

Attention is written out with matrix products, and the padding mask is a ``masked_fill`` with a finite number, so that
the network traces with torch.fx, exports at ONNX opset 13, converts to LiteRT and keeps its range in float16.
Heads are whole slices of ``query``, ``key``, ``value``: removing one only makes these layers narrower.
"""

from typing import Final

import torch
from torch import Tensor, nn

from edgefleet_compression.models.blocks import Bypass
from edgefleet_compression.models.specs import PADDING_ID, TransformerArguments

MASKED: Final = -1e4
"""Score of a padding token; float16 reaches -65504."""

INITIAL_STD: Final = 0.02
"""Standard deviation of the initial weights (Devlin et al. 2019, reference code, ``initializer_range``)."""


class Attention(nn.Module):
    """Scaled dot-product attention over all heads (Vaswani et al. 2017, arXiv:1706.03762, section 3.2)."""

    def __init__(self, width: int, *, n_heads: int, length: int) -> None:
        super().__init__()
        self.head_width = width // n_heads
        self.length = length
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor, is_padding: Tensor) -> Tensor:
        """x: (n, length, width); is_padding: (n, 1, 1, length). Returns (n, length, width)."""
        # every size but the batch is a constant: the exported graph then reshapes without computing shapes
        heads = (-1, self.length, self.n_heads, self.head_width)
        query = self.query(x).view(heads).transpose(1, 2)
        key = self.key(x).view(heads).transpose(1, 2)
        value = self.value(x).view(heads).transpose(1, 2)
        scores = torch.matmul(query, key.transpose(2, 3)) * self.head_width**-0.5
        shares = self.softmax(scores.masked_fill(is_padding, MASKED))
        mixed = torch.matmul(shares, value).transpose(1, 2)
        return self.out(mixed.reshape(-1, self.length, self.n_heads * self.head_width))  # type: ignore[no-any-return]

    @property
    def n_heads(self) -> int:
        """Heads, read from the layer that joins them: pruning leaves fewer, and ``out`` may be two layers by then."""
        first = next(module for module in self.out.modules() if isinstance(module, nn.Linear))
        return first.in_features // self.head_width


class EncoderLayer(nn.Module):
    """Attention and feed-forward part, each with its residual sum and LayerNorm."""

    def __init__(self, arguments: TransformerArguments) -> None:
        super().__init__()
        self.is_pre_norm = arguments.norm == "pre"
        width, eps = arguments.width, arguments.norm_eps
        self.attention = Attention(width, n_heads=arguments.n_heads, length=arguments.length)
        self.attention_dropout = nn.Dropout(arguments.dropout)
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.up = nn.Linear(width, arguments.feed_forward)
        self.gelu = nn.GELU()
        self.down = nn.Linear(arguments.feed_forward, width)
        self.dropout = nn.Dropout(arguments.dropout)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, is_padding: Tensor) -> Tensor:
        """x: (n, length, width); is_padding: (n, 1, 1, length). Returns (n, length, width)."""
        if self.is_pre_norm:
            x = x + self.attention_dropout(self.attention(self.attention_norm(x), is_padding))
            y: Tensor = x + self.dropout(self.down(self.gelu(self.up(self.norm(x)))))
            return y
        x = self.attention_norm(x + self.attention_dropout(self.attention(x, is_padding)))
        return self.norm(x + self.dropout(self.down(self.gelu(self.up(x)))))  # type: ignore[no-any-return]

    def bypass(self) -> nn.Module:
        """Return the hidden states alone: both residual sums hand them on."""
        return Bypass()


class TransformerEncoder(nn.Module):
    """Embeddings, encoder layers, pooling, one linear layer."""

    def __init__(self, arguments: TransformerArguments) -> None:
        super().__init__()
        width = arguments.width
        self.token = nn.Embedding(arguments.vocabulary, width, padding_idx=PADDING_ID)
        self.position = nn.Parameter(torch.empty(arguments.length, width))
        self.token_type = nn.Parameter(torch.empty(arguments.n_token_types, width)) if arguments.n_token_types else None
        has_first_norm = arguments.norm == "post"
        self.embedding_norm = nn.LayerNorm(width, eps=arguments.norm_eps) if has_first_norm else nn.Identity()
        self.embedding_dropout = nn.Dropout(arguments.dropout)
        self.layers = nn.ModuleList(EncoderLayer(arguments) for _ in range(arguments.n_layers))
        self.final_norm = nn.Identity() if has_first_norm else nn.LayerNorm(width, eps=arguments.norm_eps)
        self.pools_mean = arguments.pooling == "mean"
        self.pooler: nn.Module = (
            nn.Sequential(nn.Linear(width, width), nn.Tanh()) if arguments.has_pooler else nn.Identity()
        )
        self.head = nn.Linear(width, arguments.n_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids (n, length) to logits (n, n_classes)."""
        is_padding = tokens.eq(PADDING_ID)
        x = self.token(tokens) + self.position
        if self.token_type is not None:
            x = x + self.token_type[0]
        x = self.embedding_dropout(self.embedding_norm(x))
        scores_padding = is_padding.unsqueeze(1).unsqueeze(2)
        for layer in self.layers:
            x = layer(x, scores_padding)
        x = self.final_norm(x)
        pooled = _mean(x, is_padding) if self.pools_mean else x[:, 0]
        return self.head(self.pooler(pooled))  # type: ignore[no-any-return]


def _mean(x: Tensor, is_padding: Tensor) -> Tensor:
    """Mean over the tokens that are no padding, as a matrix product: (n, length, width) -> (n, width)."""
    counted = is_padding.logical_not().to(torch.float32)
    shares = counted / counted.sum(dim=1, keepdim=True).clamp(min=1.0)
    return torch.matmul(shares.unsqueeze(1), x).squeeze(1)


def build(arguments: TransformerArguments) -> TransformerEncoder:
    """Return the network with normal weights of deviation 0.02 and zero biases."""
    model = TransformerEncoder(arguments)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=INITIAL_STD)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    with torch.no_grad():
        model.token.weight[PADDING_ID].zero_()
    return model
