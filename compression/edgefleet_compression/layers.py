"""Channel counts of a network: read them, and make a freshly built network have them."""

from collections.abc import Mapping

from torch import nn

from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.structure import LayerShape


def read_layers(model: nn.Module) -> dict[str, LayerShape]:
    """Return name -> channels of every convolution, linear and BatchNorm layer, in module order."""
    shapes = {name: _shape_of(module) for name, module in model.named_modules()}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def resize_(model: nn.Module, layers: Mapping[str, LayerShape]) -> None:
    """Replace, in place, every layer whose recorded channels differ; its weights are new and undefined."""
    found = read_layers(model)
    if set(layers) != set(found):
        odd = sorted(set(layers) ^ set(found))[:3]
        raise ModelFileInvalid(
            f"The recorded layers are not those of the architecture, for example {odd}.", code="structure_mismatch"
        )
    for name, shape in layers.items():
        if shape.kind != found[name].kind:
            raise ModelFileInvalid(
                f"Layer {name} is recorded as {shape.kind}, the architecture has {found[name].kind}.",
                code="structure_mismatch",
            )
        if shape != found[name]:
            replace_module_(model, name, _resized(model.get_submodule(name), shape))


def output_layers(layers: Mapping[str, LayerShape], n_classes: int) -> list[str]:
    """Return the layer that gives the logits: the last one with one output per class."""
    names = [name for name, shape in layers.items() if shape.kind != "batchnorm2d" and shape.n_out == n_classes]
    last = [name for name in layers if layers[name].kind != "batchnorm2d"][-1:]
    return last if last and last[0] in names else names[-1:]


def replace_module_(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in place of the one with this dotted name."""
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)


def _shape_of(module: nn.Module) -> LayerShape | None:
    if isinstance(module, nn.Conv2d):
        return LayerShape(kind="conv2d", n_in=module.in_channels, n_out=module.out_channels, groups=module.groups)
    if isinstance(module, nn.Linear):
        return LayerShape(kind="linear", n_in=module.in_features, n_out=module.out_features)
    if isinstance(module, nn.BatchNorm2d):
        return LayerShape(kind="batchnorm2d", n_in=module.num_features, n_out=module.num_features)
    return None


def _resized(module: nn.Module, shape: LayerShape) -> nn.Module:
    if isinstance(module, nn.Conv2d):
        if shape.n_in % shape.groups or shape.n_out % shape.groups:
            raise ModelFileInvalid(f"Channels {shape} are no multiple of their groups.", code="structure_mismatch")
        return nn.Conv2d(
            shape.n_in,
            shape.n_out,
            module.kernel_size,  # type: ignore[arg-type]
            stride=module.stride,  # type: ignore[arg-type]
            padding=module.padding,  # type: ignore[arg-type]
            dilation=module.dilation,  # type: ignore[arg-type]
            groups=shape.groups,
            bias=module.bias is not None,
            device=module.weight.device,
        )
    if isinstance(module, nn.Linear):
        return nn.Linear(shape.n_in, shape.n_out, bias=module.bias is not None, device=module.weight.device)
    assert isinstance(module, nn.BatchNorm2d)
    return nn.BatchNorm2d(shape.n_out, eps=module.eps, momentum=module.momentum, device=module.weight.device)
