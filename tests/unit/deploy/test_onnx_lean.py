import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgefleet_deploy.onnx_constants import fold_constants, store_constants
from edgefleet_deploy.onnx_lean import drop_unused_opsets, make_lean
from edgefleet_deploy.onnx_optimization import optimize_graph

X = helper.make_tensor_value_info("input_image", TensorProto.FLOAT, ["N", 4])
Y = helper.make_tensor_value_info("class_scores", TensorProto.FLOAT, ["N", 4])


def make_model(nodes: list[NodeProto], tensors: list[TensorProto]) -> ModelProto:
    graph = helper.make_graph(nodes, "a long graph name", [X], [Y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7, producer_name="somebody")


def run(model: ModelProto) -> list[float]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"input_image": np.array([[1, -2, 3, -4]], np.float32)}
    return [float(value) for value in session.run(None, feed)[0].ravel()]


def described_model() -> ModelProto:
    ones = np.ones(4, np.float32)
    model = make_model(
        [
            helper.make_node("Add", ["input_image", "first.bias"], ["/layer/Add_output_0"], name="/layer/Add"),
            helper.make_node(
                "Add", ["/layer/Add_output_0", "second.bias"], ["/layer/Add_1_output_0"], doc_string="x" * 300
            ),
            helper.make_node("Relu", ["/layer/Add_1_output_0"], ["class_scores"]),
            helper.make_node("Relu", ["input_image"], ["unread"]),
        ],
        [
            numpy_helper.from_array(ones, "first.bias"),
            numpy_helper.from_array(ones, "second.bias"),
            numpy_helper.from_array(ones, "unread.bias"),
        ],
    )
    model.doc_string = "made somewhere"
    model.metadata_props.add(key="stack", value="trace" * 50)
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value="trace" * 50)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 5))
    return model


def test_lean_file_computes_the_same_and_keeps_the_names_a_runner_feeds() -> None:
    model = described_model()
    before = run(model)

    make_lean(model)

    assert run(model) == before == [3.0, 0.0, 5.0, 0.0]
    assert model.graph.input[0].name == "input_image"
    assert model.graph.output[0].name == "class_scores"


def test_lean_file_holds_no_description_and_no_copy() -> None:
    model = described_model()

    make_lean(model)

    assert len(model.graph.initializer) == 1
    assert len(model.graph.node) == 3
    assert all(len(node.name) == 1 and not node.doc_string and not node.metadata_props for node in model.graph.node)
    assert not model.doc_string
    assert not model.metadata_props
    assert not model.producer_name


def test_unused_operator_sets_go_and_used_ones_stay() -> None:
    model = described_model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.append(helper.make_node("Gelu", ["input_image"], ["g"], domain="com.microsoft"))

    drop_unused_opsets(model)

    assert sorted(entry.domain for entry in model.opset_import) == ["", "com.microsoft"]


def test_short_names_never_collide_with_public_ones() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["1"], ["hidden"]), helper.make_node("Neg", ["hidden"], ["0"])],
        "g",
        [helper.make_tensor_value_info("1", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("0", TensorProto.FLOAT, ["N", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)

    make_lean(model)

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(["0"], {"1": np.array([[1, -2, 3, -4]], np.float32)})[0].tolist() == [[-1, 0, -3, 0]]


def test_a_branch_still_finds_the_outer_names_it_reads() -> None:
    branches = {
        name: helper.make_graph(
            [helper.make_node(operator, ["input_image", "shared"], [f"{name}_value"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_value", TensorProto.FLOAT, None)],
        )
        for name, operator in (("then", "Add"), ("else", "Sub"))
    }
    model = make_model(
        [
            helper.make_node("ReduceSum", ["input_image"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["positive"]),
            helper.make_node(
                "If", ["positive"], ["class_scores"], then_branch=branches["then"], else_branch=branches["else"]
            ),
        ],
        [
            numpy_helper.from_array(np.zeros((), np.float32), "zero"),
            numpy_helper.from_array(np.full(4, 10, np.float32), "shared"),
        ],
    )
    before = run(model)

    optimize_graph(model, ir_version=7)

    assert run(model) == before == [-9.0, -12.0, -7.0, -14.0]


def test_what_needs_no_input_is_computed_once() -> None:
    model = make_model(
        [
            helper.make_node("Constant", [], ["two"], value_float=2.0),
            helper.make_node("Mul", ["w", "two"], ["doubled"]),
            helper.make_node("Sqrt", ["doubled"], ["root"]),
            helper.make_node("Add", ["input_image", "root"], ["class_scores"]),
        ],
        [numpy_helper.from_array(np.array([2, 8, 18, 32], np.float32), "w")],
    )

    store_constants(model.graph)
    assert fold_constants(model) == 2

    assert [node.op_type for node in model.graph.node] == ["Add"]
    assert run(model) == [3.0, 2.0, 9.0, 4.0]


def test_a_constant_that_would_grow_the_file_stays_a_node() -> None:
    model = make_model(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
            helper.make_node("Add", ["input_image", "sum"], ["class_scores"]),
        ],
        [numpy_helper.from_array(np.array([1000, 1000]), "shape")],
    )

    optimize_graph(model, ir_version=7)

    assert [node.op_type for node in model.graph.node] == ["ConstantOfShape", "ReduceSum", "Add"]
    assert model.ByteSize() < 500


def test_equal_graphs_give_equal_bytes_whatever_their_names() -> None:
    one, other = described_model(), described_model()
    for node in other.graph.node:
        for index, name in enumerate(node.output):
            if name.startswith("/layer"):
                node.output[index] = name.replace("layer", "renamed")
        for index, name in enumerate(node.input):
            node.input[index] = name.replace("layer", "renamed")

    make_lean(one)
    make_lean(other)

    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_an_output_that_is_the_input_keeps_its_node() -> None:
    model = make_model([helper.make_node("Identity", ["input_image"], ["class_scores"])], [])

    optimize_graph(model, ir_version=7)

    assert run(model) == [1.0, -2.0, 3.0, -4.0]
