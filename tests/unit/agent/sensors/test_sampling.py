"""The sampling loop on a virtual clock, and its store."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgefleet_agent.sampler import SamplerSettings, choose_core
from edgefleet_agent.sensors.fake.faults import Fails, Hangs, Stretches
from edgefleet_agent.sensors.fake.waveforms import Constant
from edgefleet_agent.sensors.power_sensor import FAILED, FRESH, TIMED_OUT, VERIFIED, WAS_RESET, Reading
from edgefleet_agent.sensors.recording import record, recording_from_ring, traits_from_json, traits_to_json
from edgefleet_agent.sensors.ring import SampleRing, ring_bytes

MakeRig = Callable[..., Any]


def test_stamps_are_the_middle_of_the_transaction_on_absolute_deadlines(make_rig: MakeRig) -> None:
    """Three transfers of 0.1 ms from 2, 4, 6 ms ...: stamps at 2.15, 4.15, 6.15 ms after the start."""
    rig = make_rig("ina226", transfer_ns=100_000)
    recording = record(rig.sensor, rig.clock, period_s=0.002, duration_s=0.1)
    fresh = recording.t_ns[(recording.flags & FRESH) != 0]
    assert np.all((fresh - fresh[0]) % 2_000_000 == 0)
    assert (fresh[0] - recording.t_ns[0]) == 0
    configuring_ns = 5 * 100_000  # two ids, canary, configuration, read-back; then the loop starts
    assert fresh[0] == configuring_ns + 2_150_000


def test_stale_reads_are_counted_but_not_stored(make_rig: MakeRig) -> None:
    rig = make_rig("ina226", transfer_ns=10_000)
    recording = record(rig.sensor, rig.clock, period_s=0.0005, duration_s=0.2)
    stored = int(np.sum((recording.flags & FRESH) != 0))
    assert recording.n_attempts == stored + recording.n_stale
    assert stored == pytest.approx(0.2 / 1.176e-3, abs=2)


def test_late_reads_skip_deadlines_instead_of_bursting(make_rig: MakeRig) -> None:
    rig = make_rig("ina226", transfer_ns=10_000, readiness="timed", faults=[Stretches((0,) * 99 + (7_000_000,))])
    recording = record(rig.sensor, rig.clock, period_s=0.001, duration_s=1.0)
    assert recording.n_skipped > 0
    assert recording.achieved_ratio == pytest.approx(recording.n_attempts / 1000, abs=0.01)
    stored = recording.t_ns[(recording.flags & VERIFIED) == 0]
    assert np.diff(stored).min() >= 900_000


def test_failed_transfers_are_rows_and_the_loop_goes_on(make_rig: MakeRig) -> None:
    rig = make_rig("ina226", readiness="timed", faults=[Fails(every=50, from_ns=10_000_000)])
    recording = record(rig.sensor, rig.clock, period_s=0.002, duration_s=0.5)
    failed = (recording.flags & FAILED) != 0
    assert 5 <= failed.sum() <= 15
    assert np.isnan(recording.power_w[failed]).all()
    assert np.isfinite(recording.power_w[~failed & ((recording.flags & VERIFIED) == 0)]).all()


def test_bus_hangs_are_told_from_other_failures(make_rig: MakeRig) -> None:
    rig = make_rig("ina226", readiness="timed", faults=[Hangs(every=40)])
    recording = record(rig.sensor, rig.clock, period_s=0.002, duration_s=0.5)
    assert np.any(recording.flags & TIMED_OUT)


def test_configuration_is_read_back_every_second_and_at_the_end(make_rig: MakeRig) -> None:
    rig = make_rig("ina226", reset_at_ns=2_500_000_000)
    recording = record(rig.sensor, rig.clock, period_s=0.005, duration_s=4.2)
    marks = recording.flags & (VERIFIED | WAS_RESET)
    assert [int(mark) for mark in marks if mark] == [VERIFIED, VERIFIED, WAS_RESET, WAS_RESET, WAS_RESET]


def test_traits_survive_json(make_rig: MakeRig) -> None:
    traits = make_rig("ina219").sensor.traits
    assert traits_from_json(traits_to_json(traits)) == traits


class TestRing:
    """Preallocated columns."""

    def test_oldest_rows_are_overwritten_and_counted(self, make_rig: MakeRig) -> None:
        ring = SampleRing(bytearray(ring_bytes(4)), 4)
        for number in range(6):
            ring.append(number, Reading(float(number), flags=FRESH))
        ring.count_attempt(is_stale=False, n_skipped=0)
        recording = recording_from_ring(ring, make_rig("ina226").sensor.traits, 0.001)
        assert recording.t_ns.tolist() == [2, 3, 4, 5]
        assert recording.power_w.tolist() == [2.0, 3.0, 4.0, 5.0]
        assert recording.n_overwritten == 2

    def test_two_views_of_one_memory_see_the_same(self) -> None:
        memory = bytearray(ring_bytes(8))
        writer, reader = SampleRing(memory, 8), SampleRing(memory, 8)
        reader.request_stop()
        writer.append(7, Reading(1.5))
        assert writer.stop_requested
        assert (reader.n_written, reader.columns()["power_w"][0]) == (1, 1.5)

    def test_needs_room(self) -> None:
        with pytest.raises(ValueError, match="at least one row"):
            SampleRing(bytearray(1024), 0)


@pytest.mark.parametrize(
    ("allowed", "n_threads", "core"), [({0, 1}, 2, None), ({0, 1}, 1, 1), ({0, 1, 2, 3}, 3, 3), ({0}, 1, None)]
)
def test_a_core_is_reserved_only_where_the_threads_leave_one(allowed: set[int], n_threads: int, core: int) -> None:
    assert choose_core(frozenset(allowed), n_threads) == core


@pytest.mark.parametrize(("period_s", "longest_s"), [(0.0, 1.0), (1.0, 0.5)])
def test_impossible_sampler_settings_are_refused(period_s: float, longest_s: float) -> None:
    with pytest.raises(ValueError):
        SamplerSettings(period_s, longest_s)


def test_constant_power_reads_exactly(make_rig: MakeRig) -> None:
    rig = make_rig("ina226", Constant(5.0), readiness="timed")
    recording = record(rig.sensor, rig.clock, period_s=0.005, duration_s=0.1)
    assert recording.power_w[2:-1] == pytest.approx(5.0)
