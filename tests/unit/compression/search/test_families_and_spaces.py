"""What a network is, and the space that follows: axes that do not apply are left out with a reason."""

from typing import Any

import pytest

from edgefleet_compression.passes.specs import Quantize, RemoveBlocks, StructuredPrune, Train
from edgefleet_compression.search.deriving import Supplies, first_points, range_of, space_of
from edgefleet_compression.search.families import (
    Family,
    LayerFacts,
    Nature,
    domain_of_inputs,
    family_of_operators,
    nature_of,
    nature_of_graph,
    protected_layers,
)
from edgefleet_compression.search.policy import learn, warm_starts
from edgefleet_compression.search.space import SearchSpace, TargetChoice, cause_of, grid, parse_space, plan_of
from edgefleet_compression.search.study import StudySpec
from edgefleet_compression.structure import InputSpec, LayerShape, Structure, TaskSpec

RESIDUAL = Nature("residual_cnn", "vision", "torch", n_blocks=7, has_batchnorm=True)
ORT = TargetChoice(name="onnxruntime", precisions=("fp32", "fp16", "int8", "int8-dynamic", "int8-weights"))
CORAL = TargetChoice(name="coral-usb", precisions=("int8",))
LABELLED = Supplies("labelled", max_epochs=4)


def names(space: SearchSpace) -> list[str]:
    return [axis.name for axis in space.axes]


def reasons(space: SearchSpace) -> dict[str, str]:
    return {item.axis: item.code for item in space.left_out}


def structure(architecture: str, **changes: Any) -> Structure:
    return Structure.model_construct(
        **{
            "architecture": architecture,
            "arguments": {},
            "layers": {},
            "removed": (),
            "input": InputSpec(shape=(3, 32, 32)),
            "task": TaskSpec(n_classes=10),
            **changes,
        }
    )


class TestNature:
    @pytest.mark.parametrize(
        ("architecture", "family"),
        [
            ("resnet", "residual_cnn"),
            ("mobilenet_v2", "depthwise_cnn"),
            ("efficientnet", "depthwise_cnn"),
            ("mlp", "mlp"),
        ],
    )
    def test_of_the_zoo_follows_from_the_architecture(self, architecture: str, family: Family) -> None:
        assert nature_of(structure(architecture)).family == family

    def test_blocks_that_keep_their_shape_may_go(self) -> None:
        resnet20 = structure("resnet", arguments={"blocks": (3, 3, 3)})
        assert nature_of(resnet20).n_blocks == 7  # the first block of the second and third stage changes the shape
        assert nature_of(structure("vgg")).n_blocks == 0

    def test_text_is_told_from_images_by_the_inputs_type(self) -> None:
        text = InputSpec(shape=(16,), dtype="int64", n_values=100)
        assert nature_of(structure("transformer", input=text, arguments={"n_layers": 4})).domain == "text"
        both = [("float32", (3, 224, 224)), ("int64", (77,))]
        assert domain_of_inputs(both) == "vision_and_text"
        assert domain_of_inputs([("float32", (40,))]) == "other"

    @pytest.mark.parametrize(
        ("operators", "family"),
        [
            (["Conv", "Relu", "Add", "GlobalAveragePool", "Gemm"], "residual_cnn"),
            (["Conv", "Relu", "MaxPool", "Gemm", "Softmax"], "plain_cnn"),
            (["MatMul", "Softmax", "LayerNormalization", "Add", "Gather"], "transformer"),
            (
                ["Conv", "MatMul", "Softmax", "LayerNormalization", "Add"],
                "transformer",
            ),  # patches of a vision transformer
            (["Gemm", "Relu", "Softmax"], "mlp"),
            (["conv2d", "relu", "add", "linear"], "residual_cnn"),
        ],
    )
    def test_of_a_graph_follows_from_its_operators(self, operators: list[str], family: Family) -> None:
        assert family_of_operators(operators)[0] == family
        assert nature_of_graph(operators, [("float32", (3, 32, 32))]).form == "onnx"

    def test_a_converted_graph_with_a_filter_per_channel_is_depthwise(self) -> None:
        layers = {"a": LayerShape(kind="conv2d", n_in=8, n_out=8, groups=8)}
        nodes = [{"operator": "conv2d"}, {"operator": "add"}]
        assert nature_of(structure("onnx_graph", arguments={"nodes": nodes}, layers=layers)).family == "depthwise_cnn"

    def test_first_last_and_depthwise_layers_are_protected(self) -> None:
        layers = [
            LayerFacts("stem", "conv2d"),
            LayerFacts("body", "conv2d"),
            LayerFacts("deep", "conv2d", is_depthwise=True),
            LayerFacts("head", "linear"),
        ]
        assert list(protected_layers("depthwise_cnn", layers)) == ["stem", "deep", "head"]
        assert list(protected_layers("residual_cnn", layers)) == ["stem", "head"]
        assert "1803.08607" in protected_layers("depthwise_cnn", layers)["deep"]

    def test_of_a_transformer_the_table_of_words_is_protected(self) -> None:
        layers = [LayerFacts("words", "embedding"), LayerFacts("query", "linear"), LayerFacts("head", "linear")]
        assert list(protected_layers("transformer", layers)) == ["words", "head"]


class TestSpaces:
    def test_with_labelled_data_everything_is_searched(self) -> None:
        space = space_of(RESIDUAL, [ORT, CORAL], LABELLED)
        assert names(space) == ["blocks", "channels", "scope", "format", "epochs", "teacher", "observer", "target"]
        assert reasons(space) == {"format: int8-dynamic": "dynamic_does_not_help"}
        assert parse_space(space.model_dump(mode="json")) == space

    def test_bounds_and_choices_are_those_of_the_specifications(self) -> None:
        assert range_of(StructuredPrune, "amount") == (0.0, 1.0)
        assert range_of(Train, "batch_size") == (1.0, 65536.0)
        assert space_of(RESIDUAL, [ORT], LABELLED).axis("scope").values == ("layer", "global")

    def test_without_labels_nothing_is_trained(self) -> None:
        space = space_of(RESIDUAL, [ORT], Supplies("samples"))
        assert names(space) == ["format", "observer"]
        assert reasons(space)["channels"] == "no_labelled_data"
        assert reasons(space)["epochs"] == "nothing_to_train"

    def test_without_data_ranges_are_found_on_made_samples(self) -> None:
        space = space_of(RESIDUAL, [ORT], Supplies("none"))
        assert space.axis("samples").values == ("batchnorm", "random")
        assert all(plan.recipe.is_data_free or not _uses_samples(plan.recipe) for plan in grid(space))

    def test_an_onnx_graph_is_quantized_alone(self) -> None:
        space = space_of(Nature("transformer", "text", "onnx"), [ORT], LABELLED)
        assert names(space) == ["format"]
        assert set(reasons(space).values()) == {"onnx_graph", "nothing_to_train"}
        assert space.axis("format").values[0] == "int8-dynamic"
        assert not any(
            isinstance(item, Quantize) and item.needs_torch for plan in grid(space) for item in plan.recipe.passes
        )

    def test_techniques_not_asked_for_are_left_out(self) -> None:
        space = space_of(RESIDUAL, [ORT], LABELLED, techniques=["calibration"])
        assert names(space) == ["format", "observer"]
        assert reasons(space)["blocks"] == "not_asked_for"

    def test_a_board_of_integers_has_no_other_format(self) -> None:
        space = space_of(RESIDUAL, [CORAL], LABELLED)
        assert space.axis("format").values == ("int8", "int8-trained")

    def test_a_network_without_blocks_has_no_axis_of_depth(self) -> None:
        space = space_of(Nature("plain_cnn", "vision", "torch"), [ORT], LABELLED)
        assert reasons(space)["blocks"] == "no_removable_blocks"

    @pytest.mark.parametrize("max_epochs", [1, 2, 7])
    def test_epochs_stay_within_what_is_allowed(self, max_epochs: int) -> None:
        values = space_of(RESIDUAL, [ORT], Supplies("labelled", max_epochs=max_epochs)).axis("epochs").values
        assert 1 <= int(values[0]) <= int(values[-1]) <= max_epochs

    def test_training_follows_an_edit_and_rounding_that_it_sees_alone(self) -> None:
        space = space_of(RESIDUAL, [ORT], LABELLED)
        point = {**first_points(space)[0], "format": "int8"}
        assert [item.kind for item in plan_of(space, point).recipe.passes] == ["quantize"]
        edited = plan_of(space, {**point, "channels": 0.5, "blocks": 2}).recipe.passes
        assert [item.kind for item in edited] == ["remove_blocks", "structured_prune", "train", "quantize"]
        assert isinstance(edited[0], RemoveBlocks)
        trained = plan_of(space, {**point, "format": "int8-trained"}).recipe.passes
        assert [item.kind for item in trained] == ["train"]
        assert [item.kind for item in trained[0].ingredients] == ["distill", "fake_quant"]  # type: ignore[union-attr]

    def test_first_points_are_recipes_and_begin_with_what_suits_the_family(self) -> None:
        space = space_of(RESIDUAL, [ORT, CORAL], LABELLED)
        points = first_points(space)
        assert all(cause_of(space, point) is None for point in points)
        assert {point["target"] for point in points} == {"onnxruntime", "coral-usb"}
        assert {point["channels"] for point in points} == {0.0, 0.375, 0.75}
        text = space_of(Nature("transformer", "text", "torch", n_blocks=4), [ORT], LABELLED)
        assert first_points(text)[0]["format"] == "int8-dynamic"


class TestPolicies:
    def test_good_points_of_one_network_begin_the_search_of_another(self, spec_with: Any, run_all: Any) -> None:
        spec: StudySpec = spec_with(n_trials=12)
        policy = learn(spec, run_all(spec), "residual_cnn", most=4)
        starts = warm_starts([policy], spec.space, "residual_cnn", most=3)
        assert len(starts) == 3
        assert all(cause_of(spec.space, point) is None for point in starts)
        larger = space_of(RESIDUAL, [ORT], LABELLED)
        (first, *_) = warm_starts([policy], larger, "residual_cnn")
        assert cause_of(larger, first) is None
        assert first["channels"] in larger.axis("channels").values

    def test_counts_are_carried_over_as_shares(self) -> None:
        small = space_of(Nature("residual_cnn", "vision", "torch", n_blocks=4), [ORT], LABELLED)
        large = space_of(Nature("residual_cnn", "vision", "torch", n_blocks=16), [ORT], LABELLED)
        assert (small.axis("blocks").values[-1], large.axis("blocks").values[-1]) == (2, 8)
        point = {**first_points(small)[0], "blocks": 2}
        spec = StudySpec.model_validate(
            {"objectives": [{"metric": "size_bytes"}], "space": small.model_dump(), "n_trials": 1}
        )
        record = {
            "number": 0,
            "point": point,
            "fidelity": "full",
            "state": "complete",
            "values": {"size_bytes": {"value": 1}},
        }
        policy = learn(spec, [_record(record)], "residual_cnn")
        assert warm_starts([policy], large, "residual_cnn")[0]["blocks"] == 8

    def test_the_own_family_is_heard_first(self, spec_with: Any, run_all: Any) -> None:
        spec: StudySpec = spec_with(n_trials=12)
        history = run_all(spec)
        own = learn(spec, history[:1], "residual_cnn")
        other = learn(spec, history[1:2], "transformer")
        starts = warm_starts([other, own], spec.space, "residual_cnn")
        assert starts == (history[0].point, history[1].point)

    def test_nothing_learnt_starts_nothing(self, space: SearchSpace) -> None:
        assert warm_starts([], space, "mlp") == ()


def _record(document: dict[str, Any]) -> Any:
    from edgefleet_compression.search.study import TrialRecord

    return TrialRecord.model_validate(document)


def _uses_samples(recipe: Any) -> bool:
    return any(isinstance(item, Quantize) and item.uses_samples for item in recipe.passes)
