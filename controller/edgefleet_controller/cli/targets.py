"""``edgefleet targets`` and ``recipes``: what models can be compiled for, and compressed by."""

from edgefleet_compression.presets import PRESETS
from edgefleet_controller.cli.listing import Column, CsvOption, print_list
from edgefleet_controller.cli.session import JsonOption
from edgefleet_deploy.targets import TARGETS

TARGET_COLUMNS = (
    Column("name", "target"),
    Column("runtime"),
    Column("min_version", "from"),
    Column("precisions", "number formats"),
    Column("boards", show=lambda boards: ", ".join(boards) or "any"),
)
RECIPE_COLUMNS = (
    Column("name", "recipe"),
    Column("passes", read=lambda recipe: [step["kind"] for step in recipe["passes"]]),
)


def list_targets(json_output: JsonOption = False, csv_output: CsvOption = False) -> None:
    """List the targets: runtime, oldest version, number formats and boards."""
    rows = [
        {
            "name": target.name,
            "runtime": target.runtime,
            "min_version": target.min_version,
            "file_format": target.file_format,
            "precisions": list(target.precisions),
            "boards": list(target.boards),
        }
        for target in TARGETS.values()
    ]
    print_list(rows, TARGET_COLUMNS, json_output=json_output, csv_output=csv_output)


def list_recipes(json_output: JsonOption = False, csv_output: CsvOption = False) -> None:
    """List the presets; with --json whole, to be changed and given to `job submit --recipe FILE.json`."""
    rows = [recipe.model_dump(mode="json") for recipe in PRESETS.values()]
    print_list(rows, RECIPE_COLUMNS, json_output=json_output, csv_output=csv_output)
