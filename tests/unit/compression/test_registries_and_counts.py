from typing import get_args

import pytest
import torch
from torch import nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.criteria import CRITERIA, Scene
from edgefleet_compression.layers import read_layers
from edgefleet_compression.models.registry import BUILDERS, build_model
from edgefleet_compression.models.specs import ARCHITECTURES, ResNetArguments
from edgefleet_compression.onnx_stats import count_onnx_stats
from edgefleet_compression.passes.specs import CriterionName, ScheduleName, TeacherName
from edgefleet_compression.schedules import CURVES
from edgefleet_compression.stats import count_macs, count_parameters
from edgefleet_compression.teachers import TEACHERS
from edgefleet_compression.testing import tiny_onnx


def test_registries_hold_exactly_the_names_of_the_specs() -> None:
    assert set(CRITERIA) == set(get_args(CriterionName))
    assert set(CURVES) == set(get_args(ScheduleName))
    assert set(TEACHERS) == set(get_args(TeacherName))
    assert set(BUILDERS) == set(ARCHITECTURES)


def test_resnet_20_has_the_published_parameter_count() -> None:
    """He et al. 2016, table 6: 0.27 M. By hand: convolutions 432 + 13,824 + 50,688 + 202,752, BatchNorm 1,376, head 650
    = 269,722; the two 1x1 projections of this form add 512 + 64 + 2,048 + 128."""
    arguments = {"in_channels": 3, "n_classes": 10, "stem_width": 16, "widths": [16, 32, 64], "blocks": [3, 3, 3]}
    assert count_parameters(build_model("resnet", arguments)) == 269_722 + 2_752


def test_default_resnet_stays_within_the_demo_s_limit() -> None:
    assert 150_000 < count_parameters(build_model("resnet", {})) <= 300_000


def test_macs_of_one_convolution_and_one_linear_by_hand() -> None:
    """3x3, 2 -> 4 channels on 8x8 with padding: 8*8*4*2*9 = 4,608; linear 4 -> 3: 12."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    assert count_macs(model, (2, 8, 8)) == 4608 + 12


def test_macs_of_the_onnx_graph_by_hand() -> None:
    """3x3, 1 -> 4 on 8x8: 2,304; linear 4 -> 4: 16. Free batch counts as one sample."""
    stats = count_onnx_stats(tiny_onnx())
    assert stats.macs == 2304 + 16
    assert stats.n_parameters == 60


def test_magnitude_criteria_are_absolute_value_and_square() -> None:
    weights = {"layer": torch.tensor([[-2.0, 0.5]])}
    scene = Scene(nn.Identity(), torch.zeros(1, 2), None, torch.Generator())
    found = {name: CRITERIA[name](weights, scene)["layer"].tolist() for name in ("magnitude_l1", "magnitude_l2")}
    assert set(CRITERIA) == set(get_args(CriterionName))
    assert found["magnitude_l1"] == [[2.0, 0.5]]
    assert found["magnitude_l2"] == [[4.0, 0.25]]


def test_random_criterion_repeats_with_its_seed() -> None:
    weights = {"layer": torch.zeros(3, 4)}
    draws = [
        CRITERIA["random"](weights, Scene(nn.Identity(), torch.zeros(1, 4), None, torch.Generator().manual_seed(seed)))[
            "layer"
        ]
        for seed in (7, 7, 8)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(("ratio", "widths"), [(0.5, (24, 48)), (0.25, (16, 24)), (0.01, (8, 8)), (1.0, (48, 96))])
def test_scaled_widths_are_multiples_of_eight(ratio: float, widths: tuple[int, ...]) -> None:
    """48*0.25 = 12 lies half way between 8 and 16; Python rounds half to even (1.5 -> 2)."""
    assert ResNetArguments().scaled(width_ratio=ratio, depth_ratio=1.0).widths == widths


def test_scaled_depth_keeps_one_block_per_stage() -> None:
    arguments = ResNetArguments(widths=(8, 8), blocks=(4, 1)).scaled(width_ratio=1.0, depth_ratio=0.5)
    assert arguments.blocks == (2, 1)


def test_layers_are_read_in_module_order(candidate: TorchCandidate) -> None:
    layers = read_layers(candidate.model)
    assert list(layers)[:2] == ["stem", "stem_bn"]
    assert layers["head"].n_out == 4
