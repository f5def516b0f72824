"""``edgefleet targets``: what models can be compiled for."""

from edgefleet_controller.cli.output import print_json, print_table
from edgefleet_controller.cli.session import JsonOption
from edgefleet_deploy.targets import TARGETS


def list_targets(json_output: JsonOption = False) -> None:
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
    if json_output:
        print_json(rows)
        return
    print_table(
        ("target", "runtime", "from", "number formats", "boards"),
        [
            (
                row["name"],
                row["runtime"],
                row["min_version"],
                ", ".join(row["precisions"]),
                ", ".join(row["boards"]) or "any",
            )
            for row in rows
        ],
    )
