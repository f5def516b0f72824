"""Compares ``edgefleet-agent bench`` with a plain onnxruntime loop on the same file and threads.

Both run in fresh processes, in interleaved rounds (plain, agent, agent, plain, ...); the figure is the median of the
pairwise ratios of their p50. Gate: within 1 %, or within 20 us where that is larger. Writes bench/plain_loop.json.

    python tests/benchmarks/bench_plain_loop.py [--rounds 6] [--seconds 1.5] [--file MODEL.onnx]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from edgefleet_agent.statistics import paired_ratio

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "bench" / "plain_loop.json"
RATIO_GATE = 0.01
ABSOLUTE_GATE_MS = 0.020
THREADS = (1, 2)

PLAIN_LOOP = """
import json, sys, time
import numpy as np
import onnxruntime
path, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
value = session.get_inputs()[0]
shape = [dim if isinstance(dim, int) else 1 for dim in value.shape]
feed = {value.name: np.random.RandomState(0).standard_normal(shape).astype(np.float32)}
end = time.perf_counter() + 1.0
while time.perf_counter() < end:
    session.run(None, feed)
latency_ns = []
end = time.perf_counter() + seconds
while time.perf_counter() < end or len(latency_ns) < 700:
    before = time.perf_counter_ns()
    session.run(None, feed)
    latency_ns.append(time.perf_counter_ns() - before)
print(json.dumps(float(np.median(latency_ns)) / 1e6))
"""


@dataclass(frozen=True)
class Comparison:
    """One file with one number of threads."""

    file: str
    threads: int
    plain_p50_ms: float
    agent_p50_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    n_rounds: int

    @property
    def passes(self) -> bool:
        """Within 1 %, or within 20 us."""
        difference_ms = abs(self.ratio - 1) * self.plain_p50_ms
        return abs(self.ratio - 1) <= RATIO_GATE or difference_ms <= ABSOLUTE_GATE_MS


class RandomReader(CalibrationDataReader):  # type: ignore[misc]
    """Eight random images for the int8 variant's ranges."""

    def __init__(self) -> None:
        rng = np.random.RandomState(1)
        self._batches = iter([{"x": rng.standard_normal((1, 3, 32, 32)).astype(np.float32)} for _ in range(8)])

    def get_next(self) -> "dict[str, np.ndarray] | None":
        """The next batch."""
        return next(self._batches, None)


def write_models(folder: Path) -> "list[Path]":
    """A small convolutional network, as fp32 and as int8."""
    rng = np.random.RandomState(0)
    shapes = [(32, 3, 3, 3), (32, 32, 3, 3), (32, 32, 3, 3)]
    weights = [numpy_helper.from_array((rng.randn(*s) * 0.1).astype(np.float32), f"w{i}") for i, s in enumerate(shapes)]
    weights.append(numpy_helper.from_array((rng.randn(32, 10) * 0.1).astype(np.float32), "head"))
    nodes, name = [], "x"
    for i in range(len(shapes)):
        nodes.append(helper.make_node("Conv", [name, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        name = f"r{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [name], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "head"], ["y"]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])]
    graph = helper.make_graph(nodes, "convolutions", inputs, outputs, weights)
    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), fp32)
    quantize_static(str(fp32), str(int8), RandomReader(), quant_format=QuantFormat.QDQ)
    return [fp32, int8]


def plain_p50_ms(path: Path, threads: int, seconds: float) -> float:
    """Median of a plain loop in a fresh process."""
    command = [sys.executable, "-c", PLAIN_LOOP, str(path), str(threads), str(seconds)]
    return float(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def agent_p50_ms(path: Path, threads: int, seconds: float, out: Path) -> float:
    """Median that ``edgefleet-agent bench`` reports."""
    call = "import sys; from edgefleet_agent.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", call, "bench", str(path), "--threads", str(threads), "--seconds", str(seconds)]
    subprocess.run([*command, "--json", str(out)], stdout=subprocess.DEVNULL, check=True)
    return float(json.loads(out.read_text())["latency_ms"]["p50"])


def compare(path: Path, threads: int, n_rounds: int, seconds: float, folder: Path) -> Comparison:
    """Interleaved rounds of both."""
    plain: list[float] = []
    agent: list[float] = []
    for number in range(n_rounds):
        if number % 2:
            agent.append(agent_p50_ms(path, threads, seconds, folder / "report.json"))
            plain.append(plain_p50_ms(path, threads, seconds))
        else:
            plain.append(plain_p50_ms(path, threads, seconds))
            agent.append(agent_p50_ms(path, threads, seconds, folder / "report.json"))
    ratio = paired_ratio(agent, plain)
    return Comparison(
        path.stem,
        threads,
        float(np.median(plain)),
        float(np.median(agent)),
        ratio.value,
        ratio.low,
        ratio.high,
        n_rounds,
    )


def describe_host() -> "dict[str, object]":
    """What the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison, write the figures; 1 when a gate is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--file", type=Path, action="append", help="compare on this ONNX file instead")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        comparisons = []
        for path in options.file or write_models(folder):
            for threads in THREADS[: os.cpu_count() or 1]:
                comparisons.append(compare(path, threads, options.rounds, options.seconds, folder))
                print(line(comparisons[-1]), flush=True)  # noqa: T201 - a bench prints
    OUT.parent.mkdir(exist_ok=True)
    rows = [{**asdict(item), "passes": item.passes} for item in comparisons]
    gate = {"ratio": RATIO_GATE, "absolute_ms": ABSOLUTE_GATE_MS}
    OUT.write_text(json.dumps({"host": describe_host(), "gate": gate, "comparisons": rows}, indent=2) + "\n")
    return 0 if all(item.passes for item in comparisons) else 1


def line(item: Comparison) -> str:
    """One comparison for a person."""
    text = "{:>6} {} thread(s): plain {:.4f} ms, agent {:.4f} ms, ratio {:.4f} [{:.4f}, {:.4f}] {}"
    verdict = "ok" if item.passes else "OUTSIDE THE GATE"
    figures = (item.plain_p50_ms, item.agent_p50_ms, item.ratio, item.ratio_low, item.ratio_high)
    return text.format(item.file, item.threads, *figures, verdict)


if __name__ == "__main__":
    sys.exit(main())
