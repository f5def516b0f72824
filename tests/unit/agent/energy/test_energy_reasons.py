"""Every reason the energy protocol gives, produced by the fault it stands for."""

import errno
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefleet_agent.measure.energy import Take, Window
from edgefleet_agent.measure.energy_checks import EnergyPolicy
from edgefleet_agent.measure.energy_meter import SampledEnergyMeter, reason_of
from edgefleet_agent.measure.energy_summary import summarize_energy
from edgefleet_agent.measure.meter import TimedPart
from edgefleet_agent.sampler import SamplerFailed, SamplerSettings
from edgefleet_agent.sensors.claim import ChipClaim
from edgefleet_agent.sensors.errors import SensorError
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.fake.factory import fake_options
from edgefleet_agent.sensors.fake.virtual_sampler import VirtualSampler
from edgefleet_agent.sensors.fake.waveforms import Burst, Bursts, Constant, Ramp, Square, Waveform
from edgefleet_agent.sensors.opening import open_sensor
from edgefleet_agent.sensors.power_sensor import FAILED
from edgefleet_agent.sensors.recording import record
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.spec import SensorSpec
from edgefleet_agent.wire.reasons import Reason
from edgefleet_agent.wire.report import EnergySummary

QUICK = EnergyPolicy(least_window_s=0.5, least_edges=100, least_cycles=50, idle_s=1.0)
LATENCY_NS = 20_000_000
IDLE = Constant(2.0)
WHOLE = Bursts(IDLE, (Burst(1.2, 4.2, Square(1.0, 4.0, 0.02)),))


def span(start_s: float, end_s: float) -> Any:
    from edgefleet_agent.measure.energy import Span

    return Span(round(start_s * 1e9), round(end_s * 1e9))


def take_of(waveform: Waveform = WHOLE, *, n_windows: int = 5, window_s: float = 0.6, **fake: Any) -> Take:
    """Idle 0.1 to 1.1 s, windows from 1.2 s, idle 4.3 to 5.3 s, by the real driver at 200 Hz."""
    clock = VirtualClock()
    spec = SensorSpec("ina226", shunt=ShuntCalibration(0.01), readiness="timed", fake=fake_options(waveform, **fake))
    recording = record(open_sensor(spec, clock), clock, period_s=0.005, duration_s=5.5)
    edges = [1.2 + window_s * n for n in range(n_windows + 1)]
    windows = tuple(Window(span(a, b), round(window_s / 0.02)) for a, b in itertools.pairwise(edges))
    return Take(recording, span(0.1, 1.1), span(4.3, 5.3), windows)


def summarize(take: Take, extra: Sequence[Reason] = ()) -> EnergySummary:
    return summarize_energy([take], QUICK, extra)


def test_undisturbed_take_has_no_reason() -> None:
    summary = summarize(take_of())
    assert (summary.reason, summary.detail["reasons"]) == (None, [])
    assert summary.value_mj == pytest.approx(90.0, rel=5e-3)  # 4.5 W for 20 ms


@pytest.mark.parametrize(
    ("reason", "options"),
    [
        (Reason.WINDOW_TOO_SHORT, {"window_s": 0.3}),
        (Reason.WINDOW_INCOMPLETE, {"n_windows": 0}),
        (Reason.SENSOR_RESET, {"reset_at_ns": 2_500_000_000}),
        (Reason.SENSOR_GAP, {"faults": [["Stretches", {"delays_ns": [0] * 1000 + [60_000_000] + [0] * 5000}]]}),
        (Reason.SENSOR_LOSS, {"faults": [["Fails", {"number": errno.EIO, "every": 100, "from_ns": 10_000_000}]]}),
        (Reason.BUS_TIMEOUT, {"faults": [["Hangs", {"every": 300}]]}),
        (Reason.SENSOR_MISSING, {"faults": [["Fails", {"from_ns": 3_000_000}]]}),
        (Reason.SENSOR_STUCK, {"faults": [["Sticks", {"register": 1, "value": 0x0FA0}]]}),
        (Reason.SENSOR_SATURATED, {"waveform": Bursts(IDLE, (Burst(1.2, 4.2, Constant(60.0)),))}),
        (Reason.IDLE_DRIFT, {"waveform": Bursts(Ramp(2.0, 0.05), WHOLE.bursts)}),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else "",
)
def test_fault_gives_null_with_its_reason(reason: Reason, options: dict[str, Any]) -> None:
    summary = summarize(take_of(**options))
    assert summary.value_mj is None
    assert summary.reason is reason
    assert reason.value in summary.detail["reasons"]


def test_rejected_figures_are_kept_for_a_person() -> None:
    summary = summarize(take_of(window_s=0.3))
    assert summary.detail["rejected"]["value_mj"] == pytest.approx(90.0, rel=0.01)


@pytest.mark.parametrize("n_samples", [0, 1])
def test_too_few_samples(n_samples: int) -> None:
    take = take_of()
    columns = ("t_ns", "flags", "power_w", "voltage_v", "current_a", "energy_j")
    short = {name: getattr(take.recording, name)[10 : 10 + n_samples] for name in columns}
    summary = summarize(replace(take, recording=replace(take.recording, **short)))
    assert summary.reason is Reason.TOO_FEW_SAMPLES


def test_failures_alone_are_a_missing_sensor_or_a_hung_bus() -> None:
    take = take_of()
    all_failed = replace(take.recording, flags=np.full(len(take.recording.flags), FAILED))
    assert summarize(replace(take, recording=all_failed)).reason is Reason.SENSOR_MISSING


@pytest.mark.parametrize("change", ["suspended", "backwards"])
def test_clock_jump(change: str) -> None:
    take = take_of()
    t_ns = take.recording.t_ns.copy()
    if change == "backwards":
        t_ns[500:] -= 50_000_000
    jumped = replace(take.recording, t_ns=t_ns, suspended_ns=3_000_000_000 if change == "suspended" else 0)
    assert summarize(replace(take, recording=jumped)).reason is Reason.CLOCK_JUMP


def test_wall_clock_of_1970_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only CLOCK_MONOTONIC is used."""
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert summarize(take_of()).reason is None


@pytest.mark.parametrize(
    ("reason", "options"),
    [
        (Reason.TOO_FEW_REPEATS, {"n_windows": 3}),
        (Reason.NET_NOT_POSITIVE, {"waveform": Bursts(IDLE, (Burst(1.2, 4.2, Constant(-0.2)),))}),
    ],
)
def test_remark_leaves_the_figure(reason: Reason, options: dict[str, Any]) -> None:
    summary = summarize(take_of(**options))
    assert summary.reason is None
    assert summary.value_mj is not None
    assert summary.detail["reasons"] == [reason.value]


def test_negative_net_energy_is_reported_as_it_is() -> None:
    summary = summarize(take_of(Bursts(IDLE, (Burst(1.2, 4.2, Constant(-0.2)),))))
    assert summary.net_mj == pytest.approx(-4.0, rel=0.02)


def test_starved_sampler_is_remarked() -> None:
    take = take_of()
    starved = replace(take.recording, n_skipped=take.recording.n_attempts // 10)
    assert Reason.SAMPLER_STARVED.value in summarize(replace(take, recording=starved)).detail["reasons"]


def test_model_shorter_than_the_sample_period_is_remarked() -> None:
    take = take_of()
    many = tuple(Window(window.span, 600) for window in take.windows)
    summary = summarize(replace(take, windows=many))
    assert summary.detail["reasons"] == [Reason.SHORTER_THAN_SAMPLE_PERIOD.value]
    assert summary.value_mj == pytest.approx(4.5, rel=5e-3)


def test_high_overhead_is_passed_on() -> None:
    assert summarize(take_of(), (Reason.OVERHEAD_HIGH,)).detail["reasons"] == ["overhead_high"]


def test_no_takes_are_an_incomplete_window() -> None:
    assert summarize_energy([], QUICK).reason is Reason.WINDOW_INCOMPLETE


# the meter ----------------------------------------------------------------------------------------------------------


class Rig:
    """A meter on a virtual board whose load runs from 2 s on."""

    def __init__(self, spec: SensorSpec, policy: EnergyPolicy = QUICK) -> None:
        self.clock = VirtualClock()
        self.specs: list[SensorSpec] = []
        self.meter = SampledEnergyMeter(spec, policy=policy, start_sampler=self._start, clock=self.clock)

    def _start(self, spec: SensorSpec, settings: SamplerSettings) -> VirtualSampler:
        self.specs.append(spec)
        return VirtualSampler(spec, replace(settings, longest_s=20.0), self.clock)

    def run(self, timed_s: float = 3.0) -> TimedPart:
        """One run as the measuring code makes it."""
        self.meter.begin()
        n = round(timed_s * 1e9 / LATENCY_NS)
        latency = np.full(n, LATENCY_NS, dtype=np.int64)
        part = TimedPart(self.clock.now_ns() + np.cumsum(latency) - LATENCY_NS, latency, 1)
        self.clock.advance_ns(n * LATENCY_NS)
        self.meter.end()
        return part


def summary_of(meter: SampledEnergyMeter, *parts: TimedPart) -> EnergySummary:
    """The summary of one launch, the last one."""
    return meter.summarize([meter.collect(part) for part in parts])


def fake_spec(kind: str = "ina226", waveform: Waveform = IDLE, **options: Any) -> SensorSpec:
    shunt = ShuntCalibration(0.1 if kind == "ina219" else 0.01)
    return SensorSpec(kind, shunt=shunt, fake=fake_options(waveform, **options))


@pytest.mark.parametrize(
    ("reason", "options"),
    [
        (Reason.SENSOR_MISSING, {"missing": True}),
        (Reason.WRONG_CHIP, {"wrong_kind": "ina260"}),
        (Reason.ADDRESS_CLAIMED, {"faults": [["Fails", {"number": errno.EBUSY}]]}),
        (Reason.PERMISSION_DENIED, {"faults": [["Fails", {"number": errno.EACCES}]]}),
        (Reason.BUS_TIMEOUT, {"faults": [["Hangs", {"every": 1}]]}),
    ],
)
def test_sensor_that_does_not_start_gives_null_with_its_reason(reason: Reason, options: dict[str, Any]) -> None:
    rig = Rig(fake_spec(**options))
    summary = summary_of(rig.meter, rig.run())
    assert (summary.value_mj, summary.reason) == (None, reason)
    assert summary.detail["message"]


def test_charging_battery_is_unusable(tmp_path: Path) -> None:
    for name, text in {"type": "Battery", "status": "Charging", "power_now": "1"}.items():
        (tmp_path / name).write_text(text)
    rig = Rig(SensorSpec("power_supply", path=str(tmp_path)))
    assert summary_of(rig.meter, rig.run()).reason is Reason.SENSOR_UNUSABLE


def test_garbled_trace_is_an_invalid_reading(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("t_s,mV\n0,1\n")
    rig = Rig(SensorSpec("replay", path=str(tmp_path / "trace.csv")))
    assert summary_of(rig.meter, rig.run()).reason is Reason.READING_INVALID


def failing(error: Callable[[], SensorError]) -> Callable[[SensorSpec, SamplerSettings], VirtualSampler]:
    def start(spec: SensorSpec, settings: SamplerSettings) -> VirtualSampler:
        failure = error()
        raise SamplerFailed(failure.code, str(failure))

    return start


def test_chip_of_another_process_is_in_use(tmp_path: Path) -> None:
    owner = ChipClaim("1-0040", tmp_path)

    def second_claim() -> SensorError:
        with pytest.raises(SensorError) as caught:
            ChipClaim("1-0040", tmp_path)
        return caught.value

    meter = SampledEnergyMeter(fake_spec(), policy=QUICK, start_sampler=failing(second_claim), clock=VirtualClock())
    meter.begin()
    meter.end()
    empty = np.zeros(0, dtype=np.int64)
    assert summary_of(meter, TimedPart(empty, empty, 1)).reason is Reason.SENSOR_IN_USE
    owner.release()


def test_sampler_that_dies_costs_the_energy_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: VirtualSampler) -> None:
        raise SamplerFailed("sampler_died", "the sampling process ended with status -9")

    monkeypatch.setattr(VirtualSampler, "stop", die)
    rig = Rig(fake_spec())
    assert summary_of(rig.meter, rig.run()).reason is Reason.SAMPLER_DIED


def test_runner_that_dies_in_mid_window_leaves_an_incomplete_window() -> None:
    rig = Rig(fake_spec())
    rig.meter.begin()
    rig.meter.close()
    empty = np.zeros(0, dtype=np.int64)
    assert summary_of(rig.meter, TimedPart(empty, empty, 1)).reason is Reason.WINDOW_INCOMPLETE


def test_code_without_a_reason_is_not_readable() -> None:
    assert reason_of("sensor_error") is Reason.NOT_READABLE


def test_meter_gives_energy_scope_and_raw_samples() -> None:
    from edgefleet_agent.wire.samples import decode_samples

    waveform = Bursts(IDLE, (Burst(1.02, 4.02, Constant(3.0)),))
    rig = Rig(fake_spec(waveform=waveform))
    part = rig.run()
    summary = summary_of(rig.meter, part)
    assert summary.reason is None
    assert summary.value_mj == pytest.approx(100.0, rel=0.02)
    assert summary.net_mj == pytest.approx(60.0, rel=0.02)
    assert summary.sensor is not None
    assert summary.sensor["provenance"] == "simulated"
    header, columns = decode_samples(rig.meter.blobs([rig.meter.collect(part)])["power"])
    assert header["scope"] == "board_5v_input"
    assert len(columns["t_ns"]) == len(columns["power_uw"]) > 900


def test_first_look_narrows_the_range() -> None:
    rig = Rig(fake_spec("ina219", waveform=Constant(1.0)))
    rig.meter.look()
    rig.clock.advance_ns(1_000_000_000)
    rig.run()
    gains = [spec.settings.gain_code for spec in rig.specs if spec.settings is not None]
    assert gains == [3, 0]


def test_meter_can_be_used_again() -> None:
    rig = Rig(fake_spec(waveform=Square(2.0, 5.0, 0.02)))
    summaries = [summary_of(rig.meter, rig.run()) for _ in range(2)]
    assert [summary.value_mj for summary in summaries] == pytest.approx([70.0, 70.0], rel=0.01)


def test_meter_announces_its_time_and_the_shortest_timed_part() -> None:
    rig = Rig(fake_spec(), EnergyPolicy())
    assert rig.meter.extra_s == pytest.approx(2 * 5.0 + 2.0, abs=0.1)
    assert rig.meter.least_timed_s(1) == pytest.approx(5 * 10 * 1.1)
    assert rig.meter.least_timed_s(2) == pytest.approx(3 * 10 * 1.1)
    assert rig.meter.least_timed_s(9) == pytest.approx(10 * 1.1)


def test_meter_reserves_a_core_the_threads_leave_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})
    meter = Rig(fake_spec()).meter
    assert (meter.reserve_core(3), meter.reserve_core(4)) == (3, None)


def test_default_policy_needs_ten_seconds_a_window() -> None:
    rig = Rig(fake_spec(waveform=Constant(3.0)), replace(EnergyPolicy(), idle_s=1.0))
    assert Reason.WINDOW_TOO_SHORT.value in summary_of(rig.meter, rig.run()).detail["reasons"]


class TestSeveralLaunches:
    def test_every_launch_is_metered_and_named_in_the_samples(self) -> None:
        from edgefleet_agent.wire.samples import decode_samples

        rig = Rig(fake_spec(waveform=Square(2.0, 5.0, 0.02)))
        metered = [rig.meter.collect(rig.run()) for _ in range(3)]
        summary = rig.meter.summarize(metered)
        assert summary.value_mj == pytest.approx(70.0, rel=0.01)
        assert summary.detail["n_launches"] == 3
        assert summary.detail["launch_mj"] == pytest.approx([70.0] * 3, rel=0.01)
        header, columns = decode_samples(rig.meter.blobs(metered)["power"])
        assert sorted(set(columns["launch"])) == [0, 1, 2]
        assert len(header["idle_before_ns"]) == len(header["idle_after_ns"]) == 3

    def test_one_launch_that_could_not_be_metered_leaves_no_figure(self) -> None:
        rig = Rig(fake_spec(waveform=Square(2.0, 5.0, 0.02)))
        good = rig.meter.collect(rig.run())
        died = replace(good, recording=None, failure=SamplerFailed("sampler_died", "status -9"))
        summary = rig.meter.summarize([good, died])
        assert (summary.value_mj, summary.reason) == (None, Reason.SAMPLER_DIED)
        assert summary.detail["n_launches"] == 1
        cut = replace(good, idle_after=None)
        assert rig.meter.summarize([good, cut]).reason is Reason.WINDOW_INCOMPLETE

    def test_launches_share_the_windows_that_are_needed(self) -> None:
        rig = Rig(fake_spec(waveform=Square(2.0, 5.0, 0.02)), replace(QUICK, least_window_s=1.0))
        parts = [rig.meter.collect(rig.run(1.2)) for _ in range(5)]
        summary = rig.meter.summarize(parts)
        assert summary.reason is None
        assert summary.detail["n_windows"] == 5
