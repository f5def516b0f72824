"""Take the mean error of rounding out of every channel (Nagel et al. 2019, arXiv:1906.04721, section 4.2)."""

import torch
from torch import Tensor, fx, nn

from edgefleet_compression.quantization.layer_signals import layers_in_order, observe_layer
from edgefleet_compression.quantization.modules import QuantizedConv2d
from edgefleet_compression.records import Skip


def correct_biases_(model: fx.GraphModule, reference: nn.Module, samples: Tensor) -> tuple[Skip, ...]:
    """Add to every bias what the rounded layer's channel lacks on average over the samples; return layers without bias.

    Empirical form (appendix D of the paper): in the graph's order, each layer behind the corrected ones before it.
    """
    skipped: list[Skip] = []
    for name, layer in layers_in_order(model).items():
        if layer.bias is None:
            skipped.append(Skip(layer=name, reason="no bias to correct"))
            continue
        wanted, found = observe_layer(reference, name, samples).outputs, observe_layer(model, name, samples).outputs
        channel = 1 if isinstance(layer, QuantizedConv2d) else wanted.dim() - 1
        others = [axis for axis in range(wanted.dim()) if axis != channel]
        with torch.no_grad():
            layer.bias.add_((wanted - found).mean(dim=others))
    return tuple(skipped)
