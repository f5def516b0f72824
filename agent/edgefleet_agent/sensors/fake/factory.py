"""Fake sensors from plain values: for the sampling process, simulated boards and tests."""

from collections.abc import Mapping
from typing import Any

from edgefleet_agent.sensors.clock import Clock
from edgefleet_agent.sensors.fake import faults as fault_kinds
from edgefleet_agent.sensors.fake.chips import FAKE_CHIPS
from edgefleet_agent.sensors.fake.fake_bus import FakeBus
from edgefleet_agent.sensors.fake.fake_ina import ChipErrors, FakeIna, Load
from edgefleet_agent.sensors.fake.faults import Fault
from edgefleet_agent.sensors.fake.waveforms import Waveform, waveform_from_json, waveform_to_json
from edgefleet_agent.sensors.spec import SensorSpec

INA260_SHUNT_OHM = 2e-3
"""The shunt inside the chip (INA260 SBOS656C 8.3.1)."""

_FAULTS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        fault_kinds.Fails,
        fault_kinds.Hangs,
        fault_kinds.Stretches,
        fault_kinds.Sticks,
        fault_kinds.FlipsBit,
        fault_kinds.SwapsBytes,
    )
}


def fake_options(waveform: Waveform, *, epoch_ns: int = 0, voltage_v: float = 5.0, **options: Any) -> dict[str, Any]:
    """Return the ``fake`` field of a ``SensorSpec``.

    Options: transfer_ns, errors (fields of ChipErrors), resistance_error (true shunt / calibrated one - 1),
    reset_at_ns, faults ([kind, arguments] pairs, such as ["Fails", {"every": 100}]), missing, wrong_kind, provenance.
    """
    return {"waveform": waveform_to_json(waveform), "epoch_ns": epoch_ns, "voltage_v": voltage_v, **options}


def fake_bus_from_json(spec: SensorSpec, clock: Clock) -> FakeBus:
    """Return the bus with the chip that ``spec.fake`` describes."""
    fake = spec.fake
    chips: dict[int, FakeIna] = {} if fake.get("missing") else {spec.address: _make_chip(spec, fake)}
    faults = [_make_fault(name, arguments) for name, arguments in fake.get("faults", ())]
    return FakeBus(chips, clock, number=spec.bus, transfer_ns=int(fake.get("transfer_ns", 120_000)), faults=faults)


def _make_chip(spec: SensorSpec, fake: Mapping[str, Any]) -> FakeIna:
    resistance_ohm = spec.shunt.resistance_ohm if spec.shunt else INA260_SHUNT_OHM
    load = Load(waveform_from_json(fake["waveform"]), float(fake.get("voltage_v", 5.0)))
    return FAKE_CHIPS[str(fake.get("wrong_kind", spec.kind))](
        dict.fromkeys(spec.channels, load),
        resistance_ohm * (1 + float(fake.get("resistance_error", 0.0))),
        errors=ChipErrors(**fake.get("errors", {})),
        epoch_ns=int(fake.get("epoch_ns", 0)),
        reset_at_ns=fake.get("reset_at_ns"),
    )


def _make_fault(name: str, arguments: Mapping[str, Any]) -> Fault:
    if name not in _FAULTS:
        raise ValueError("unknown fault {!r}; known are {}".format(name, ", ".join(sorted(_FAULTS))))
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    fault: Fault = _FAULTS[name](**fields)
    return fault
