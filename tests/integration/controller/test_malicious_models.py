"""Files made to harm are refused by the inspection, each with its code, within the limits of its child process."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgefleet_compression.onnx_bounds import MAX_DEPTH, MAX_NODES, MAX_TEXT_BYTES
from edgefleet_controller.engine.child_process import ChildLimits
from edgefleet_controller.models.errors import InspectionFailed, ModelRefused
from edgefleet_controller.models.inspection import ChildInspector

MEMORY_BYTES = 4 * 1024**3
LIMITS = ChildLimits(timeout_s=120, file_size_bytes=0, address_space_bytes=MEMORY_BYTES, cpu_s=60)

BATCH = """
import json, resource, sys
from pathlib import Path
from edgefleet_compression.errors import CompressionError
from edgefleet_compression.inspection import inspect_model_file
for name in sys.argv[1:]:
    try:
        inspect_model_file(Path(name))
        code = "accepted"
    except CompressionError as err:
        code = err.code
        assert len(str(err)) < 2000, "an error must not carry the file"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([Path(name).stem, code, peak]), flush=True)
"""


def tensor(name: str = "x", shape: tuple[int, ...] = (1, 4)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def weight(name: str = "w", dims: tuple[int, ...] = (4,), n: int = 4) -> onnx.TensorProto:
    return TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, raw_data=bytes(4 * n))


def model(
    *nodes: onnx.NodeProto,
    initializers: tuple[onnx.TensorProto, ...] = (),
    inputs: tuple[onnx.ValueInfoProto, ...] = (tensor(),),
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", list(inputs), [tensor("y")], initializer=list(initializers))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return made


def add(left: str = "x", right: str = "w", out: str = "y") -> onnx.NodeProto:
    made: onnx.NodeProto = helper.make_node("Add", [left, right], [out])
    return made


def external(location: str, name: str = "w") -> onnx.TensorProto:
    found = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=(4,), data_location=TensorProto.EXTERNAL)
    found.external_data.add(key="location", value=location)
    return found


def body(*nodes: onnx.NodeProto, initializers: tuple[onnx.TensorProto, ...] = ()) -> onnx.GraphProto:
    made: onnx.GraphProto = helper.make_graph(
        list(nodes), "body", [], [tensor("y_body")], initializer=list(initializers)
    )
    return made


def branch(inner: onnx.GraphProto, condition: str = "c") -> onnx.NodeProto:
    made: onnx.NodeProto = helper.make_node("If", [condition], ["y"], then_branch=inner, else_branch=inner)
    return made


def condition() -> onnx.TensorProto:
    made: onnx.TensorProto = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    return made


def nested(depth: int) -> onnx.ModelProto:
    inner = body(add("x", "x", "y_body"))
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["y_body"], then_branch=inner, else_branch=body(add("x", "x", "y_body")))
        inner = body(node)
    return model(branch(inner), initializers=(condition(),))


def in_attribute() -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["w"])
    node.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR, t=external("a")))
    return model(node, add())


def evil() -> onnx.NodeProto:
    made: onnx.NodeProto = helper.make_node("Shell", ["x"], ["y_body"], domain="evil")
    return made


def duplicated() -> onnx.ModelProto:
    return model(add(), add(), initializers=(weight(),))


CORPUS: dict[str, tuple[Callable[[], onnx.ModelProto | bytes], str]] = {
    "traversal": (lambda: model(add(), initializers=(external("../../../etc/passwd"),)), "external_data_refused"),
    "absolute": (lambda: model(add(), initializers=(external("/etc/passwd"),)), "external_data_refused"),
    "device_file": (lambda: model(add(), initializers=(external("/dev/zero"),)), "external_data_refused"),
    "external_in_attribute": (in_attribute, "external_data_refused"),
    "external_in_body": (
        lambda: model(
            branch(body(add("x", "w", "y_body"), initializers=(external("../x"),))), initializers=(condition(),)
        ),
        "external_data_refused",
    ),
    "custom_domain": (lambda: model(helper.make_node("Shell", ["x"], ["y"], domain="evil")), "custom_operator_refused"),
    "custom_domain_in_body": (
        lambda: model(branch(body(evil())), initializers=(condition(),)),
        "custom_operator_refused",
    ),
    "nested_bodies": (lambda: nested(MAX_DEPTH), "model_excessive"),
    "nested_beyond_protobuf": (lambda: nested_bytes(2000), "file_corrupt"),
    "cycle": (lambda: model(add("x", "b", "a"), add("x", "a", "b"), add("a", "b", "y")), "file_corrupt"),
    "huge_dims": (lambda: model(add(), initializers=(weight(dims=(2**40, 2**20)),)), "model_excessive"),
    "negative_dims": (lambda: model(add(), initializers=(weight(dims=(-4,)),)), "model_excessive"),
    "huge_input": (lambda: model(add("x", "x", "y"), inputs=(tensor("x", (2**62, 2)),)), "model_excessive"),
    "many_dims": (lambda: model(add(), initializers=(weight(dims=(1,) * 100_000),)), "model_excessive"),
    "too_little_data": (lambda: model(add(), initializers=(weight(dims=(1_000_000,)),)), "file_corrupt"),
    "duplicated_names": (duplicated, "file_corrupt"),
    "gigantic_text": (
        lambda: model(helper.make_node("Add", ["x", "x"], ["y"], doc="a" * (MAX_TEXT_BYTES + 1))),
        "model_excessive",
    ),
    "many_operators": (lambda: many_operators(), "model_excessive"),
    "no_graph": (lambda: onnx.ModelProto(ir_version=8).SerializeToString(), "file_corrupt"),
    "length_beyond_the_end": (lambda: b"\x3a\xff\xff\xff\xff\x07" + b"\x00" * 64, "file_corrupt"),
    "not_protobuf": (lambda: b"\xff" * 4096, "file_corrupt"),
}


def many_operators() -> onnx.ModelProto:
    """Two bytes of file become a whole object in memory, each."""
    found = model(add("x", "x", "y"))
    found.graph.MergeFromString(b"\x0a\x00" * (MAX_NODES * 10))
    return found


def nested_bytes(depth: int) -> bytes:
    """Graphs in graphs, deeper than a parser that calls itself should go; made by hand, as the library refuses to."""

    def field(number: int, content: bytes) -> bytes:
        length, encoded = len(content), b""
        while length > 127:
            encoded, length = encoded + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + encoded + bytes([length]) + content

    graph = b""
    for _ in range(depth):
        attribute = field(6, graph)  # AttributeProto.g
        graph = field(1, field(5, attribute))  # GraphProto.node, NodeProto.attribute
    return field(7, graph)  # ModelProto.graph


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int]]:
    """Code and peak memory of each file, all inspected by one child with an inspection's limits."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, (make, _) in CORPUS.items():
        made = make()
        (folder / f"{name}.onnx").write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    command = [sys.executable, "-c", BATCH, *(str(folder / f"{name}.onnx") for name in CORPUS)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=LIMITS.apply, timeout=240, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(CORPUS), f"the child ended with {done.returncode} after {rows[-1:]}: {done.stderr[-2000:]}"
    return {name: (code, peak) for name, code, peak in rows}


@pytest.mark.parametrize(("name", "code"), [(name, code) for name, (_, code) in CORPUS.items()])
def test_the_file_is_refused_with_its_code(outcomes: dict[str, tuple[str, int]], name: str, code: str) -> None:
    found, peak_bytes = outcomes[name]
    assert found == code
    assert peak_bytes < MEMORY_BYTES / 2


def test_a_file_that_needs_more_than_the_limits_ends_with_a_code(tmp_path: Path) -> None:
    # 120 million bytes of the smallest operators there are take some ten gigabytes once they are parsed
    graph = b"\x0a\x00" * 60_000_000
    path = tmp_path / "bomb.onnx"
    path.write_bytes(b"\x08\x08\x3a" + varint(len(graph)) + graph)
    with pytest.raises((ModelRefused, InspectionFailed)) as caught:
        ChildInspector(ChildLimits(120, 0, 2 * 1024**3, 60)).inspect(path)
    assert caught.value.code in ("out_of_memory", "file_corrupt", "inspection_failed", "model_excessive")


def varint(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded, number = encoded + bytes([number & 127 | 128]), number >> 7
    return encoded + bytes([number])


def test_a_plain_model_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "plain.onnx"
    path.write_bytes(model(add(), initializers=(weight(),)).SerializeToString())
    assert ChildInspector(LIMITS).inspect(path)["n_parameters"] == 4
