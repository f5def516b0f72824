"""Battery life and yearly cost, by hand."""

import json
from collections.abc import Callable

import httpx
import pytest
from typer.testing import CliRunner, Result

from edgefleet_controller.cli import energy_cost as command
from edgefleet_controller.cli.app import app
from edgefleet_controller.client import Client
from edgefleet_controller.energy_cost import DutyCycle, EnergyCostRefused, MeasuredEnergy, energy_cost, measured_energy

MEASURED = MeasuredEnergy(
    energy_mj=36.0,
    uncertainty_mj=3.6,
    idle_power_w=1.0,
    latency_ms=10.0,
    provenance="simulated",
    scope="board_5v_input",
)


def test_energy_of_inferences_and_idle_power_between_them_add_up() -> None:
    """36,000 an hour are 10 a second: 0.36 W, and idle for 90 % of the time: 0.9 W. 12.6 Wh at 1.26 W last 10 h."""
    found = energy_cost(
        MEASURED,
        DutyCycle(
            inferences_per_hour=36_000, battery_wh=12.6, usable_share=1.0, supply_efficiency=1.0, price_per_kwh=0.5
        ),
    )
    assert found.busy_share == pytest.approx(0.1)
    assert found.mean_power_w == pytest.approx(1.26)
    assert found.battery_life_h == pytest.approx(10.0)
    assert found.energy_per_year_kwh == pytest.approx(1.26 * 8.766)
    assert found.cost_per_year == pytest.approx(0.5 * 1.26 * 8.766)


def test_uncertainty_of_the_energy_gives_the_range() -> None:
    """3.6 mJ ten times a second are 0.036 W either way."""
    found = energy_cost(MEASURED, DutyCycle(inferences_per_hour=36_000, battery_wh=10.0))
    assert found.mean_power_range_w == pytest.approx((1.224, 1.296))
    assert found.battery_life_range_h is not None
    assert found.battery_life_range_h[0] < (found.battery_life_h or 0.0) < found.battery_life_range_h[1]


def test_sleep_counts_outside_the_active_hours() -> None:
    """Six hours of 1.26 W and eighteen of 0.02 W."""
    found = energy_cost(MEASURED, DutyCycle(inferences_per_hour=36_000, active_hours_per_day=6, sleep_power_w=0.02))
    assert found.mean_power_w == pytest.approx((6 * 1.26 + 18 * 0.02) / 24)


def test_simulated_figures_stay_labelled_and_assumptions_are_named() -> None:
    found = energy_cost(MEASURED, DutyCycle(inferences_per_hour=10))
    assert found.provenance == "simulated"
    assert found.assumptions["usable_share"] == 0.8
    assert found.assumptions["idle_power_w"] == 1.0
    assert (found.battery_life_h, found.cost_per_year) == (None, None)


def test_energy_that_was_not_measured_gives_no_figure() -> None:
    row = {"energy": {"value_mj": None, "reason": "no_sensor"}, "latency_ms": {"p50": 1.0}}
    with pytest.raises(EnergyCostRefused, match="no_sensor") as caught:
        measured_energy(row)
    assert caught.value.code == "energy_unknown"
    for broken in ({"energy": None}, {"energy": {"value_mj": 1.0, "idle_power_w": None}, "latency_ms": {"p50": 1.0}}):
        with pytest.raises(EnergyCostRefused):
            measured_energy(broken)


def test_more_inferences_than_fit_in_an_hour_are_refused() -> None:
    with pytest.raises(EnergyCostRefused, match="360,000 at most") as caught:
        energy_cost(MEASURED, DutyCycle(inferences_per_hour=400_000))
    assert caught.value.code == "duty_cycle_impossible"


@pytest.mark.parametrize(
    "changes",
    [
        {"inferences_per_hour": 0},
        {"active_hours_per_day": 25},
        {"usable_share": 0},
        {"supply_efficiency": 1.1},
        {"battery_wh": 0},
        {"price_per_kwh": -1},
        {"sleep_power_w": -0.1},
        {"n_devices": 0},
    ],
)
def test_impossible_duty_cycles_are_refused(changes: "dict[str, float]") -> None:
    with pytest.raises(EnergyCostRefused) as caught:
        DutyCycle(**{"inferences_per_hour": 10, **changes})  # type: ignore[arg-type]
    assert caught.value.code == "duty_cycle_invalid"


ROWS = [
    {
        "name": "int8",
        "device_name": "pi",
        "provenance": "simulated",
        "run_id": "run_1",
        "energy": {"value_mj": 36.0, "expanded_uncertainty_mj": 3.6, "idle_power_w": 1.0, "scope": "board_5v_input"},
        "latency_ms": {"p50": 10.0},
    },
    {
        "name": "baseline",
        "device_name": "pi",
        "provenance": "simulated",
        "energy": {"value_mj": None, "reason": "no_sensor"},
    },
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> "Callable[..., Result]":
    """Runs ``edgefleet energy-cost JOB`` against a controller that has ROWS."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"items": ROWS, "next_cursor": None})

    def invoke(*arguments: str) -> Result:
        client = Client("http://controller", "eot_x", transport=httpx.MockTransport(answer))
        monkeypatch.setattr(command, "open_client", lambda _url, _data_dir: client)
        return CliRunner().invoke(app, ["energy-cost", "job_1", *arguments])

    return invoke


def test_command_gives_figures_where_there_is_energy_and_reasons_elsewhere(run: "Callable[..., Result]") -> None:
    outcome = run("--per-hour", "36000", "--battery", "12.6", "--usable-share", "1", "--efficiency", "1", "--json")
    first, second = json.loads(outcome.stdout)
    assert first["battery_life_h"] == pytest.approx(10.0)
    assert first["provenance"] == "simulated"
    assert second["error"]["code"] == "energy_unknown"


def test_table_names_what_is_assumed(run: "Callable[..., Result]") -> None:
    outcome = run("--per-hour", "36000")
    assert "simulated" in outcome.stdout
    assert "no_sensor" in outcome.stdout
    assert "usable_share 0.8" in outcome.stdout


def test_impossible_cycle_is_wrong_usage(run: "Callable[..., Result]") -> None:
    outcome = run("--per-hour", "0")
    assert outcome.exit_code == 2
    assert "duty_cycle_invalid" in outcome.stderr
