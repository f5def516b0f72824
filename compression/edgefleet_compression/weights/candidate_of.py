"""A candidate around weights from elsewhere."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.layers import read_layers
from edgefleet_compression.models.specs import parse_arguments
from edgefleet_compression.structure import InputSpec, Structure, TaskSpec


def candidate_of(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    architecture: str,
    arguments: Mapping[str, Any],
    shape: tuple[int, ...],
) -> TorchCandidate:
    """Return the candidate with these tensors, all of which must fit; ModelFileInvalid ``weights_unexpected``."""
    expected = model.state_dict()
    odd = sorted(set(expected) ^ set(tensors))
    odd += [name for name in expected if name in tensors and expected[name].shape != tensors[name].shape]
    if odd:
        raise ModelFileInvalid(
            f"The packaged weights do not fit {architecture}: {', '.join(odd[:5])}.", code="weights_unexpected"
        )
    model.load_state_dict(dict(tensors))
    checked = parse_arguments(architecture, arguments)
    structure = Structure(
        architecture=architecture,
        arguments=checked.model_dump(mode="json"),
        layers=read_layers(model),
        input=InputSpec(shape=shape, dtype=checked.input_type, n_values=checked.n_values),
        task=TaskSpec(n_classes=checked.n_classes),
    )
    return TorchCandidate(model.eval(), structure)
