"""The commands of ``edgefleet`` put together."""

import typer

from edgefleet_controller.cli.artifacts import artifact_app
from edgefleet_controller.cli.comparisons import compare, compare_with_itself, comparison_app, list_comparisons
from edgefleet_controller.cli.devices import device_app
from edgefleet_controller.cli.energy_cost import show_energy_cost
from edgefleet_controller.cli.gate import gate
from edgefleet_controller.cli.imports import import_profile
from edgefleet_controller.cli.jobs import job_app
from edgefleet_controller.cli.keys import key_app
from edgefleet_controller.cli.models import model_app
from edgefleet_controller.cli.people import audit, password, project_app, user_app, whoami
from edgefleet_controller.cli.regressions import regression_app, webhook_app
from edgefleet_controller.cli.report import export, report
from edgefleet_controller.cli.results import front, results
from edgefleet_controller.cli.rollouts import rollout_app
from edgefleet_controller.cli.runs import file_app, run_app, status
from edgefleet_controller.cli.searches import search
from edgefleet_controller.cli.server import demo, serve, worker
from edgefleet_controller.cli.store import backup, restore_backup, store_app
from edgefleet_controller.cli.studies import study_app
from edgefleet_controller.cli.targets import list_recipes, list_targets
from edgefleet_controller.cli.tokens import token_app
from edgefleet_controller.cli.workers import list_workers

app = typer.Typer(
    no_args_is_help=True,
    help="Compress neural networks, run them on your own boards and see which variant wins.",
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(worker)
app.command()(demo)
app.add_typer(device_app, name="device")
app.add_typer(token_app, name="token")
app.add_typer(user_app, name="user")
app.add_typer(project_app, name="project")
app.command("audit")(audit)
app.command()(whoami)
app.command()(password)
app.command()(status)
app.add_typer(key_app, name="key")
app.add_typer(rollout_app, name="rollout")
app.add_typer(model_app, name="model")
app.add_typer(artifact_app, name="artifact")
app.add_typer(job_app, name="job")
app.command()(search)
app.command()(results)
app.command()(front)
app.command()(report)
app.command()(export)
app.command("energy-cost")(show_energy_cost)
app.command()(gate)
app.command("import-profile")(import_profile)
app.command()(compare)
app.command("aa")(compare_with_itself)
app.command("comparisons")(list_comparisons)
app.add_typer(comparison_app, name="comparison")
app.add_typer(regression_app, name="regression")
app.add_typer(webhook_app, name="webhook")
app.add_typer(study_app, name="study")
app.add_typer(run_app, name="run")
app.add_typer(file_app, name="file")
app.command("targets")(list_targets)
app.command("recipes")(list_recipes)
app.command("workers")(list_workers)
app.command()(backup)
app.command("restore")(restore_backup)
app.add_typer(store_app, name="store")


def main() -> None:
    """Entry point of the command ``edgefleet``."""
    app()
