"""The result file of ``onnxruntime_perf_test MODEL RESULTS``: a line for each inference.

microsoft/onnxruntime, onnxruntime/test/perftest/performance_runner.{h,cc}, PerformanceResult::DumpToFile:
``model name, seconds, peak working set in bytes, CPU use in percent, number of the run``; with ``-s`` lines of statistics
follow after an empty one. The model's name may hold commas, so that fields count from the right.
"""

from edgefleet_controller.imports.errors import ProfileRefused
from edgefleet_controller.imports.profile import Profile, to_ns

N_FIGURES = 4
"""Fields after the model's name."""


class OnnxruntimePerfTest:
    """Times of single inferences by onnxruntime_perf_test."""

    name = "onnxruntime-perf-test"
    tool = "onnxruntime_perf_test"
    how = "onnxruntime_perf_test -e cpu -r 1000 model.onnx results.csv"

    def read(self, data: bytes) -> Profile:
        """The latencies of all inferences; the peak working set is among the facts."""
        try:
            lines = data.decode("utf-8").splitlines()
        except UnicodeDecodeError as err:
            raise ProfileRefused("The file is not text; onnxruntime_perf_test writes lines with commas.") from err
        seconds, peaks, models = [], [], set()
        for number, line in enumerate(lines, 1):
            if not line.strip():
                break  # statistics follow
            fields = line.rsplit(",", N_FIGURES)
            seconds.append(_number(fields, number, 1))
            peaks.append(_number(fields, number, 2))
            models.add(fields[0])
        if len(models) > 1:
            raise ProfileRefused(
                f"The file holds runs of several models ({', '.join(sorted(models)[:3])}); import each alone."
            )
        facts = {"model": next(iter(models), ""), "peak_working_set_bytes": int(max(peaks, default=0))}
        return Profile(self.tool, to_ns(seconds, 1.0), facts=facts)


def _number(fields: list[str], number: int, place: int) -> float:
    wrong = f"Line {number} is not `model,seconds,bytes,percent,run`, as onnxruntime_perf_test writes it."
    if len(fields) != N_FIGURES + 1:
        raise ProfileRefused(wrong)
    try:
        return float(fields[place])
    except ValueError as err:
        raise ProfileRefused(wrong) from err
