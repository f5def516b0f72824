import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_files import copy_model, name_batch, opset_candidates, refuse_unsupported
from edgefleet_deploy.onnx_versions import ir_version_for, min_onnxruntime_version, opset_of


def linear_model(shape: list[int | str], *, opset: int = 13, domain: str = "") -> ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], domain=domain)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [*shape[:-1], 2])],
        [numpy_helper.from_array(np.ones((3, 2), np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def test_a_free_inner_dimension_is_refused_with_its_name_and_the_way_out() -> None:
    with pytest.raises(CandidateRefused) as caught:
        refuse_unsupported(linear_model(["batch", "sequence", 3]))

    assert caught.value.code == "dynamic_shape"
    assert "'x'" in caught.value.message
    assert "--dim_param sequence" in caught.value.message


def test_a_free_batch_is_accepted_and_called_n() -> None:
    model = linear_model(["batch_size", 3])

    refuse_unsupported(model)
    name_batch(model)

    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_a_fixed_batch_stays_fixed() -> None:
    model = linear_model([1, 3])

    name_batch(model)

    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_an_input_without_shape_is_refused() -> None:
    model = linear_model(["N", 3])
    model.graph.input[0].type.tensor_type.ClearField("shape")

    with pytest.raises(CandidateRefused) as caught:
        refuse_unsupported(model)

    assert caught.value.code == "dynamic_shape"


def test_a_foreign_operator_is_refused() -> None:
    with pytest.raises(CandidateRefused) as caught:
        refuse_unsupported(linear_model(["N", 3], domain="com.example"))

    assert caught.value.code == "custom_domain"
    assert caught.value.detail == {"operator": "MatMul", "domain": "com.example"}


def test_nan_weights_are_refused_by_name() -> None:
    model = linear_model(["N", 3])
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((3, 2), np.nan, np.float32), "w"))

    with pytest.raises(CandidateRefused) as caught:
        refuse_unsupported(model)

    assert caught.value.code == "non_finite_weights"
    assert caught.value.detail["tensor"] == "w"


@pytest.mark.parametrize(
    ("opset", "ir_version", "release"),
    [
        (13, 7, "1.10"),
        (15, 8, "1.10"),
        (16, 8, "1.11"),
        (17, 8, "1.12"),
        (18, 8, "1.14"),
        (19, 9, "1.15"),
        (20, 9, "1.17"),
        (20, 10, "1.18"),
        (21, 10, "1.18"),
        (99, 7, None),
    ],
)
def test_oldest_runtime_of_an_opset(opset: int, ir_version: int, release: str | None) -> None:
    assert min_onnxruntime_version(opset, ir_version) == release


def test_opset_13_is_written_with_ir_7_and_a_newer_one_with_its_own() -> None:
    # onnx release notes: 1.8 has opset 13 and IR 7, 1.12 has opset 17 and IR 8
    assert ir_version_for(13, 7) == 7
    assert ir_version_for(11, 7) == 7
    assert ir_version_for(17, 7) == 8


def test_a_newer_file_of_old_operators_is_offered_in_the_older_opset() -> None:
    candidates = list(opset_candidates(linear_model(["N", 3], opset=17), 13))

    assert candidates
    assert all(opset_of(model) == 13 and model.ir_version == 7 for model in candidates)


def test_an_operator_the_older_opset_lacks_gives_no_candidate() -> None:
    graph = helper.make_graph(
        [helper.make_node("LayerNormalization", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.ones(3, np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    assert list(opset_candidates(model, 13)) == []


def test_local_functions_are_inlined() -> None:
    body = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="local")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=imports, functions=[body], ir_version=8)

    inlined = copy_model(model)

    assert [node.op_type for node in inlined.graph.node] == ["Add"]
    refuse_unsupported(inlined)
