"""``edgefleet energy-cost``: battery life and yearly cost from a job's measured energies."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from edgefleet_controller.cli.jobs import JobArgument
from edgefleet_controller.cli.output import EXIT_USAGE, console, fail, print_json, print_table, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.energy_cost import DutyCycle, EnergyCost, EnergyCostRefused, energy_cost, measured_energy

HOURS_PER_DAY = 24.0


def show_energy_cost(
    job: JobArgument,
    per_hour: Annotated[float, typer.Option(help="Inferences of one device in an active hour.")],
    active_hours: Annotated[float, typer.Option(help="Active hours a day.")] = 24.0,
    sleep_power: Annotated[
        float | None, typer.Option(help="Watts outside the active hours; default: the idle power measured.")
    ] = None,
    battery: Annotated[float | None, typer.Option(help="Capacity of the battery in Wh.")] = None,
    usable_share: Annotated[float, typer.Option(help="Share of the capacity that can be drawn.")] = 0.8,
    efficiency: Annotated[float, typer.Option(help="Of the supply between battery or mains and the sensor.")] = 0.85,
    price: Annotated[float | None, typer.Option(help="Price of a kWh, in any currency.")] = None,
    devices: Annotated[int, typer.Option(help="Devices; cost and energy of a year are of all of them.")] = 1,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show battery life and yearly cost of every variant whose energy was measured, with all that is assumed."""
    try:
        cycle = DutyCycle(
            inferences_per_hour=per_hour,
            active_hours_per_day=active_hours,
            sleep_power_w=sleep_power,
            battery_wh=battery,
            usable_share=usable_share,
            supply_efficiency=efficiency,
            price_per_kwh=price,
            n_devices=devices,
        )
    except EnergyCostRefused as refused:
        fail(refused.code, refused.message, status=EXIT_USAGE)
    with reported_errors(), open_client(url, data_dir) as client:
        rows = client.results(job)
    found = [(row, _of(row, cycle)) for row in rows]
    if as_json:
        print_json([_document(row, cost) for row, cost in found])
        return
    print_table(
        ("variant", "device", "provenance", "mean power (W)", "battery life (days)", "kWh a year", "cost a year"),
        [_cells(row, cost) for row, cost in found],
    )
    assumed = ", ".join(f"{name} {value:g}" for name, value in asdict(cycle).items() if value is not None)
    console.print(
        f"Assumed: {assumed}; idle power and latency as measured. Ranges come from the energy's uncertainty alone.",
        markup=False,
    )


def _of(row: dict[str, Any], cycle: DutyCycle) -> EnergyCost | EnergyCostRefused:
    try:
        return energy_cost(measured_energy(row), cycle)
    except EnergyCostRefused as refused:
        return refused


def _document(row: dict[str, Any], cost: EnergyCost | EnergyCostRefused) -> dict[str, Any]:
    about = {"variant": row.get("name"), "device": row.get("device_name"), "run_id": row.get("run_id")}
    if isinstance(cost, EnergyCostRefused):
        return about | {"error": {"code": cost.code, "message": cost.message}}
    return about | asdict(cost)


def _cells(row: dict[str, Any], cost: EnergyCost | EnergyCostRefused) -> tuple[object, ...]:
    about = (row.get("name"), row.get("device_name"))
    if isinstance(cost, EnergyCostRefused):
        return (*about, row.get("provenance"), f"{cost.code}: {cost.message}", None, None, None)
    life = None if cost.battery_life_h is None else cost.battery_life_h / HOURS_PER_DAY
    ends = cost.battery_life_range_h
    days = (
        None if life is None else f"{life:.3g}" + ("" if ends is None else f" [{ends[0] / 24:.3g}, {ends[1] / 24:.3g}]")
    )
    paid = None if cost.cost_per_year is None else f"{cost.cost_per_year:.2f}"
    power = f"{cost.mean_power_w:.3g}"
    return (*about, cost.provenance, power, days, f"{cost.energy_per_year_kwh:.3g}", paid)
