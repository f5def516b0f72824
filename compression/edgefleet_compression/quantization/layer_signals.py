"""What goes into a layer and what comes out of it, on samples."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from edgefleet_compression.quantization.modules import QuantizedLayer, quantized_layers

SIGNAL_BATCH: Final = 128


@dataclass(frozen=True)
class Signals:
    """One layer's inputs and outputs over all samples, (n, ...) each."""

    inputs: Tensor
    outputs: Tensor


def layers_in_order(model: fx.GraphModule) -> dict[str, QuantizedLayer]:
    """Return name -> rounded layer in the order in which the graph computes them."""
    layers = quantized_layers(model)
    called = dict.fromkeys(str(node.target) for node in model.graph.nodes if node.op == "call_module")
    return {name: layers[name] for name in called if name in layers}


def observe_layer(model: nn.Module, name: str, samples: Tensor) -> Signals:
    """Return what the layer of this name sees and answers; a layer called twice shows its last call."""
    seen: list[tuple[Tensor, Tensor]] = []

    def note(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        seen.append((args[0].detach(), output.detach()))

    handle = model.get_submodule(name).register_forward_hook(note)
    inputs, outputs = [], []
    try:
        with torch.no_grad():
            for batch in torch.split(samples, SIGNAL_BATCH):
                seen.clear()
                model(batch)
                inputs.append(seen[-1][0])
                outputs.append(seen[-1][1])
    finally:
        handle.remove()
    return Signals(torch.cat(inputs), torch.cat(outputs))
