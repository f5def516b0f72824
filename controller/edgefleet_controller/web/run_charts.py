"""The charts of a run: pure functions of its report and raw samples."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.statistics import find_steady_state
from edgefleet_controller.results.run_record import RawSamples
from edgefleet_controller.web.charts import Axis, Band, Chart, Mark, Point, Series, Table

Report = Mapping[str, Any]
MAX_POINTS = 1500
"""Points of a drawn series; of longer ones the least and the largest of each stretch are drawn, so no spike is lost."""
MAX_BINS = 60
SHOWN_BEYOND_P99 = 1.05
PERCENTILES = ("p50", "p90", "p99")
NS_PER_S, NS_PER_MS = 1e9, 1e6


def thin(x: NDArray[Any], y: NDArray[Any], n_points: int = MAX_POINTS) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most so many points of a series: of each stretch the place of its smallest and of its largest value."""
    if len(x) <= n_points:
        return x, y
    bounds = np.linspace(0, len(x), n_points // 2 + 1).astype(int)
    kept = [
        index
        for low, high in itertools.pairwise(bounds)
        for index in sorted({low + int(np.argmin(y[low:high])), low + int(np.argmax(y[low:high]))})
    ]
    return x[kept], y[kept]


def latency_histogram(samples: RawSamples, figures: Report) -> Chart:
    """How often which latency was seen, with the percentiles marked."""
    milliseconds = samples.columns["latency_ns"] / NS_PER_MS
    # the longest hundredth would squeeze all the others into one bin
    top = SHOWN_BEYOND_P99 * float(np.percentile(milliseconds, 99))
    shown = milliseconds[milliseconds <= top] if len(milliseconds) > 200 else milliseconds
    n_bins = int(np.clip(len(np.histogram_bin_edges(shown, "fd")) - 1, 5, MAX_BINS))
    counts, edges = np.histogram(shown, n_bins)
    names = [f"{(low + high) / 2:.4g}" for low, high in itertools.pairwise(edges)]
    points = [Point(name, int(count)) for name, count in zip(names, counts, strict=True)]
    marks = []
    for name in PERCENTILES:
        value = figures.get(name)
        if value is not None and edges[0] <= value <= edges[-1]:
            place = min(int(np.searchsorted(edges, value, side="right")) - 1, n_bins - 1)
            marks.append(Mark(names[place], f"{name} {value:.4g}"))
    rows = [(f"{low:.4g} to {high:.4g}", int(n)) for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)]
    n_beyond = int(len(milliseconds) - len(shown))
    if n_beyond:
        rows.append((f"above {top:.4g} (not drawn)", n_beyond))
    return Chart(
        Axis("latency, ms", "category", names),
        Axis("inferences", from_zero=True),
        [Series("", "histogram", points)],
        Table(["latency, ms", "inferences"], rows),
        marks=marks,
    )


def latency_series(timed: RawSamples, warmup: RawSamples) -> Chart:
    """Latency over time: the warm-up, which is not counted, and the steady part of what is."""
    start_ns, latency_ns = timed.columns["start_ns"], timed.columns["latency_ns"]
    begin_ns = int(start_ns[0])
    steady = find_steady_state(start_ns, latency_ns)
    end_s = (int(start_ns[-1]) + int(latency_ns[-1]) - begin_ns) / NS_PER_S
    bands, series = [], []
    if warmup:
        series.append(_over_time("warm-up", warmup, begin_ns))
        first_s = (int(warmup.columns["start_ns"][0]) - begin_ns) / NS_PER_S
        bands.append(Band(first_s, 0.0, "warm-up, not counted", "warn"))
    series.append(_over_time("timed", timed, begin_ns))
    is_steady = steady.outcome.value in ("flat", "warmup")
    if is_steady:
        steady_s = (int(start_ns[steady.first_steady]) - begin_ns) / NS_PER_S
        bands.append(Band(steady_s, end_s, "steady state", "good"))
    rows = [(f"part {i}", value / NS_PER_MS) for i, value in enumerate(steady.segment_medians_ns, 1)]
    return Chart(
        Axis("seconds since the timed part began"),
        Axis("latency, ms"),
        series,
        Table(["stretch of the timed part", "median latency, ms"], rows),
        bands=bands,
        extra={"outcome": steady.outcome.value},
    )


def _over_time(name: str, samples: RawSamples, begin_ns: int) -> Series:
    seconds = (samples.columns["start_ns"] - begin_ns) / NS_PER_S
    x, y = thin(seconds, samples.columns["latency_ns"] / NS_PER_MS)
    return Series(name, "line", [Point(float(a), float(b)) for a, b in zip(x, y, strict=True)])


def power_trace(power: RawSamples, timed: RawSamples) -> Chart:
    """Power over time, with the idle windows and the window that energy is computed from."""
    t_ns, watts = power.columns["t_ns"], power.columns["power_uw"] / 1e6
    begin_ns = int(timed.columns["start_ns"][0]) if timed else int(t_ns[0])
    windows = [("idle before", "calm", span) for span in power.header.get("idle_before_ns", [])]
    windows += [("idle after", "calm", span) for span in power.header.get("idle_after_ns", [])]
    if timed:
        end_ns = int(timed.columns["start_ns"][-1]) + int(timed.columns["latency_ns"][-1])
        windows.insert(1, ("run", "accent", [begin_ns, end_ns]))
    bands = [
        Band((low - begin_ns) / NS_PER_S, (high - begin_ns) / NS_PER_S, name, "accent" if tone == "accent" else "calm")
        for name, tone, (low, high) in windows
    ]
    rows = []
    for name, _, (low, high) in windows:
        inside = watts[(t_ns >= low) & (t_ns <= high)]
        mean = float(inside.mean()) if len(inside) else None
        rows.append((name, (high - low) / NS_PER_S, mean, len(inside)))
    x, y = thin((t_ns - begin_ns) / NS_PER_S, watts)
    points = [Point(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    return Chart(
        Axis("seconds since the timed part began"),
        Axis("power, W", from_zero=True),
        [Series("", "line", points)],
        Table(["window", "length, s", "mean power, W", "readings"], rows),
        bands=bands,
    )


_PHASES = (
    ("after importing the runtime", "after_import_bytes"),
    ("after loading the file", "after_load_bytes"),
    ("peak while loading", "peak_load_bytes"),
    ("peak while running", "peak_run_bytes"),
)


def memory_phases(memory: Report) -> Chart:
    """Memory of the runner process, phase by phase."""
    known = [(name, memory.get(field)) for name, field in _PHASES]
    points = [Point(name, value / 1e6) for name, value in known if value is not None]
    names = [str(point.x) for point in points]
    rows = [(name, None if value is None else value / 1e6) for name, value in known]
    return Chart(
        Axis("", "category", names),
        Axis("MB", from_zero=True),
        [Series("", "bar", points)],
        Table(["phase", "MB"], rows),
        is_flat=True,
        nothing="The board does not tell",
    )


def operator_bars(operators: Sequence[Report]) -> Chart:
    """Time of each kind of operator, the longest first, from a pass of its own under the profiler."""
    points = [
        Point(one["operator"], one["time_us"], note=f"{one['n_nodes']} nodes on {one['provider']}")
        for one in operators[:20]
    ]
    rows = [
        (one["operator"], one["provider"], one["n_nodes"], one["time_us"], f"{one['share']:.1%}") for one in operators
    ]
    return Chart(
        Axis("", "category", [str(point.x) for point in points]),
        Axis("mean time per inference, \N{MICRO SIGN}s", from_zero=True),
        [Series("", "bar", points)],
        Table(["operator", "runs on", "nodes", "mean time, \N{MICRO SIGN}s", "share"], rows),
        is_flat=True,
        nothing="The run was not profiled",
    )
