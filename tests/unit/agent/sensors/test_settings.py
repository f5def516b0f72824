"""Descriptions of sensors, choice of gain and averaging, claims, replay of recorded traces."""

from pathlib import Path

import pytest

from edgefleet_agent.sensors import ina, ina_facts
from edgefleet_agent.sensors.claim import ChipClaim
from edgefleet_agent.sensors.errors import ReadingInvalid, SensorInUse
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.fake.factory import fake_options
from edgefleet_agent.sensors.fake.waveforms import Constant
from edgefleet_agent.sensors.ina_facts import InaSettings
from edgefleet_agent.sensors.opening import open_sensor
from edgefleet_agent.sensors.power_sensor import SensorTraits
from edgefleet_agent.sensors.ranging import choose_gain, choose_settings, measuring_spec, ranging_spec
from edgefleet_agent.sensors.replay import ReplaySensor, Trace, parse_power_csv, parse_ptdaemon_log
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.spec import SensorSpec, parse_sensor, spec_from_json

SHUNT = ShuntCalibration(0.01, relative_limit=0.005, correction=1.01, source="compared with a bench meter")


class TestSpec:
    """A person's line and the way to the sampling process."""

    def test_line_of_a_person(self) -> None:
        spec = parse_sensor("ina3221, bus=0, address=0x41, shunt=0.1, limit=0.01, channels=1+3, scope=board_5v_input")
        assert (spec.kind, spec.bus, spec.address, spec.channels) == ("ina3221", 0, 0x41, (1, 3))
        assert spec.shunt == ShuntCalibration(0.1, 0.01)

    def test_spec_survives_json(self) -> None:
        spec = SensorSpec("ina226", shunt=SHUNT, settings=InaSettings(3, 1, 2), fake=fake_options(Constant(1.0)))
        assert spec_from_json(spec.to_json()) == spec

    def test_scope_follows_from_the_kind_where_there_is_only_one(self) -> None:
        assert SensorSpec("jetson").scope == "module_input"
        assert SensorSpec("rapl").scope == "cpu_package"

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("ina999", "unknown sensor 'ina999'"),
            ("ina226", "needs its shunt"),
            ("ina226,shunt=0.01,colour=red", "'colour=red' is none of"),
            ("ina226,shunt=0.01,channels=2", "has one channel"),
            ("ina3221,shunt=0.01,channels=4", "channels are 1 to 3"),
            ("rapl,scope=house", "scope 'house'"),
        ],
    )
    def test_mistakes_are_named(self, line: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            parse_sensor(line)

    def test_unknown_fault_is_refused(self) -> None:
        fake = fake_options(Constant(1.0), faults=[["Explodes", {}]])
        with pytest.raises(ValueError, match="unknown fault 'Explodes'"):
            open_sensor(SensorSpec("ina226", shunt=SHUNT, fake=fake), VirtualClock())

    def test_fake_sensor_says_it_is_simulated(self) -> None:
        sensor = open_sensor(SensorSpec("ina226", shunt=SHUNT, fake=fake_options(Constant(1.0))), VirtualClock())
        assert sensor.traits.provenance == "simulated"


class TestRanging:
    """First look, then measure."""

    @pytest.mark.parametrize(("period_s", "looked"), [(0.005, 0.8), (0.001, 0.5)])
    def test_cycle_fits_the_period_and_looks_most_of_the_time(self, period_s: float, looked: float) -> None:
        settings = choose_settings(ina_facts.INA226, period_s)
        assert ina.cycle_s(ina_facts.INA226, settings) * 1.1 <= period_s
        assert ina.looking_s(ina_facts.INA226, settings) > looked * period_s

    def test_period_shorter_than_any_cycle_gets_the_fastest(self) -> None:
        settings = choose_settings(ina_facts.INA226, 1e-4)
        assert ina.cycle_s(ina_facts.INA226, settings) == pytest.approx(280e-6)

    @pytest.mark.parametrize(("volts", "code"), [(0.02, 0), (0.035, 1), (0.1, 2), (0.2, 3), (0.5, 3)])
    def test_gain_holds_the_peak_with_headroom(self, volts: float, code: int) -> None:
        assert choose_gain(ina_facts.INA219, volts) == code

    def test_second_phase_narrows_the_range(self) -> None:
        spec = SensorSpec("ina219", shunt=ShuntCalibration(0.1))
        first, second = ranging_spec(spec, 0.005), measuring_spec(spec, 0.005, [0.1, -0.25])
        assert first.settings is not None
        assert second.settings is not None
        assert (first.settings.gain_code, second.settings.gain_code) == (3, 0)

    def test_without_a_look_the_range_stays_wide(self) -> None:
        spec = measuring_spec(SensorSpec("ina219", shunt=ShuntCalibration(0.1)), 0.005, [])
        assert spec.settings is not None
        assert spec.settings.gain_code == 3

    def test_kernel_sensors_have_no_range(self) -> None:
        spec = SensorSpec("rapl")
        assert ranging_spec(spec, 0.005) == measuring_spec(spec, 0.005, [1.0]) == spec


def test_a_chip_has_one_owner(tmp_path: Path) -> None:
    claim = ChipClaim("1-0040", tmp_path)
    with pytest.raises(SensorInUse):
        ChipClaim("1-0040", tmp_path)
    ChipClaim("1-0041", tmp_path).release()
    claim.release()
    ChipClaim("1-0040", tmp_path).release()


def test_unknown_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="scope 'desk'"):
        SensorTraits(chip="x", scope="desk", cycle_s=1.0, averaging_s=0.0, lag_s=0.0)


class TestReplay:
    """Recorded traces."""

    LOG = (
        "Time,08-10-2021 11:35:22.323,Watts,3.932000,Volts,120.75,Amps,0.0847,PF,0.3845,Mark,a\n"
        "Time,08-10-2021 11:35:23.338,Watts,4.934000,Volts,120.73,Amps,0.10529,PF,0.3881,Mark,a\n"
        "Time,08-10-2021 11:35:24.338,Watts,4.967000,Volts,120.72,Amps,0.10507,PF,0.3916,Mark,a\n"
    )

    def test_ptdaemon_log(self) -> None:
        trace = parse_ptdaemon_log(self.LOG, source="log")
        assert trace.t_s == pytest.approx((0.0, 1.015, 2.015))
        assert trace.power_w == (3.932, 4.934, 4.967)
        assert trace.scope == "wall_ac"

    def test_readings_are_the_newest_row_and_say_replayed(self) -> None:
        clock = VirtualClock()
        sensor = ReplaySensor(parse_ptdaemon_log(self.LOG, source="log"), clock)
        sensor.configure()
        clock.advance_ns(1_500_000_000)
        assert sensor.read().power_w == 4.934
        assert sensor.traits.provenance == "replayed"

    def test_after_the_end_there_is_nothing(self) -> None:
        clock = VirtualClock()
        sensor = ReplaySensor(Trace((0.0, 1.0), (1.0, 2.0), "wall_ac", "t"), clock)
        clock.advance_ns(3_000_000_000)
        with pytest.raises(ReadingInvalid, match="over"):
            sensor.read()

    def test_millivolts_and_milliamperes_make_power(self) -> None:
        trace = parse_power_csv("t_s,mV,mA\n0,5000,1000\n1,5000,2000\n", scope="module_input", source="t")
        assert trace.power_w == pytest.approx((5.0, 10.0))

    @pytest.mark.parametrize("header", ["t_s,mV", "t_s,mA", "time,power"])
    def test_a_column_that_is_no_power_is_refused(self, header: str) -> None:
        """The mistake of a published dataset: in1_input, a voltage, read as milliwatts."""
        with pytest.raises(ReadingInvalid, match="needs t_s"):
            parse_power_csv("{}\n0,5000\n1,5000\n".format(header), scope="module_input", source="t")

    def test_log_of_another_format_is_refused(self) -> None:
        with pytest.raises(ReadingInvalid, match="expected Time"):
            parse_ptdaemon_log("a,b,c,d\n", source="log")

    def test_rows_out_of_order_are_refused(self) -> None:
        with pytest.raises(ReadingInvalid, match="order of time"):
            Trace((1.0, 0.0), (1.0, 1.0), "wall_ac", "t")
