"""The options of ``edgefleet job submit``, and what they become in a request."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from edgefleet_controller.cli.output import fail

JsonObject = dict[str, Any]

RecipesOption = Annotated[
    list[str] | None, typer.Option(help="Preset name or a .json file with a recipe; may be given several times.")
]
TargetsOption = Annotated[list[str] | None, typer.Option(help="Target; may be given several times.")]
DevicesOption = Annotated[
    list[str] | None, typer.Option(help="Name of a device; may be given several times; default: all that are active.")
]
ThreadsOption = Annotated[
    str | None, typer.Option(help="Threads of the runtime on the device; 1,2,4 measures with each.")
]
BatchOption = Annotated[str | None, typer.Option(help="Samples per inference; 1,8 measures with each.")]
ProviderOption = Annotated[
    str | None, typer.Option(help="Execution provider of onnxruntime, such as CPU,XNNPACK to measure with each.")
]
DelegateOption = Annotated[
    str | None, typer.Option(help="Delegate of a TFLite runtime; several, with commas, measure with each.")
]
SecondsOption = Annotated[float | None, typer.Option(min=0.1, help="Least length of the timed part.")]
MinAcceleratorShareOption = Annotated[
    float | None, typer.Option(min=0, max=1, help="Runs with less than this share on the accelerator are invalid.")
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, help="Seed of training and compression; default: each recipe's own.")
]
MetricOption = Annotated[str, typer.Option(help="Shown beside accuracy: top1, top5, f1_binary, f1_macro or mcc.")]
NoCacheOption = Annotated[bool, typer.Option("--no-cache", help="Compress again even if the same was done before.")]
PriorityOption = Annotated[str | None, typer.Option(help="low, normal or high: a head start before other jobs.")]
ComputeOption = Annotated[
    str | None, typer.Option(help="Where recipes that train run: cpu, gpu, or auto for a GPU where a worker has one.")
]
AfterOption = Annotated[
    list[str] | None, typer.Option(help="Begin when this job has completed; may be given several times.")
]
DeadlineOption = Annotated[
    str | None, typer.Option(help="End then, such as 2026-12-24T18:00:00Z, and keep what was measured.")
]
MaxFailuresOption = Annotated[int | None, typer.Option(min=0, help="Stop when more runs have failed.")]
MaxFailureShareOption = Annotated[
    float | None, typer.Option(min=0, max=1, help="Stop when a larger share of all runs has failed.")
]
NameOption = Annotated[str | None, typer.Option(help="Name of the job; default: the model's.")]
MatchLabelOption = Annotated[
    list[str] | None,
    typer.Option(help="Instead of --device: boards with this label, key=value; all of several."),
]
MatchBoardOption = Annotated[
    list[str] | None, typer.Option(help="Instead of --device: boards of this kind; one of several.")
]
NeedsSensorOption = Annotated[
    bool, typer.Option("--needs-sensor", help="Instead of --device: boards that measure energy.")
]
AnyOfOption = Annotated[
    int | None, typer.Option(min=1, help="Not on every matching board, but on so many, whichever are free first.")
]
WatchOption = Annotated[bool, typer.Option("--watch", help="Follow the job and print its results.")]


def read_recipe(value: str) -> str | JsonObject:
    """The name of a preset as it is, or the document of a .json file; ends with ``recipe_unreadable`` if it cannot be read."""
    path = Path(value)
    if path.suffix != ".json":
        return value
    try:
        parsed: JsonObject = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        fail("recipe_unreadable", f"{path}: {err}", status=2)
    return parsed


def requirement(
    labels: list[str] | None, boards: list[str] | None, *, needs_sensor: bool, any_of: int | None
) -> JsonObject | None:
    """What boards have to be; None where nothing was said of it. Ends with ``label_invalid`` for what is not key=value."""
    wrong = [pair for pair in labels or () if "=" not in pair]
    if wrong:
        fail("label_invalid", f"{wrong[0]!r} is not key=value", status=2)
    wanted: JsonObject = {"labels": dict(pair.split("=", 1) for pair in labels)} if labels else {}
    wanted |= {"boards": boards} if boards else {}
    wanted |= {"needs_sensor": True} if needs_sensor else {}
    return wanted if wanted or any_of is not None else None


def sweep_settings(swept: Mapping[str, Sequence[Any]], fixed: Mapping[str, Any]) -> list[JsonObject]:
    """Every combination of the swept values, each with the fixed ones that are not None."""
    given = {name: value for name, value in fixed.items() if value is not None}
    names = [name for name, values in swept.items() if values]
    return [given | dict(zip(names, values, strict=True)) for values in product(*(swept[name] for name in names))]


def numbers(option: str, text: str | None) -> list[int]:
    """The numbers of an option such as ``1,2,4``; ends with ``settings_invalid`` if one is none."""
    parts = words(text)
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        fail("settings_invalid", f"--{option}: {text!r} is not a number, or numbers with commas such as 1,2", status=2)
    return [int(part) for part in parts]


def words(text: str | None) -> list[str]:
    """What stands between the commas of an option."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]
