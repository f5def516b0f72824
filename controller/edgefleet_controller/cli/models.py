"""``edgefleet model``."""

from pathlib import Path
from typing import Annotated

import typer

from edgefleet_controller.cli.analysis_table import print_analysis
from edgefleet_controller.cli.job_options import read_recipe
from edgefleet_controller.cli.listing import Column, CsvOption, print_list
from edgefleet_controller.cli.output import console, fail, print_json, reported_errors
from edgefleet_controller.cli.progress import JobProgress
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.client import TERMINAL_JOB_STATES

model_app = typer.Typer(no_args_is_help=True, help="Networks: add, list, show, analyze.")

COLUMNS = (
    Column("name"),
    Column("format"),
    Column("n_parameters", "parameters", read=lambda model: model["facts"].get("n_parameters")),
    Column("id"),
    Column("created_at", "added"),
)
ModelArgument = Annotated[str, typer.Argument(help="Name or identifier.")]


@model_app.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="An .onnx file, or a .safetensors file in edgefleet's form.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; default: the file's name.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="An .npz file with x and y (for calibration and accuracy), or the name of a packaged or generated one."
        ),
    ] = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Upload and register a network."""
    if not file.is_file():
        fail("file_missing", f"{file} is not a file")
    with reported_errors(), open_client(url, data_dir) as client:
        model = client.add_model(file, name=name, data=_data(data))
    if json_output:
        print_json(model)
        return
    console.print(f"Added {model['name']} ({model['id']})", markup=False)
    if data is None and file.suffix == ".onnx":
        console.print(
            "No data was given: accuracy will be empty and int8 is calibrated on random inputs. "
            "Add the model again with --data FILE.npz (x, y) for both.",
            markup=False,
        )
    console.print(f"Next: edgefleet job submit {model['name']} --recipe baseline --recipe int8", markup=False)


@model_app.command("sample")
def sample(
    file: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    data: Annotated[Path, typer.Argument(help="The .npz file to write, with x and y.")],
) -> None:
    """Write a small trained network (8 x 8 digits) with its data, for first steps without a file of one's own."""
    from edgefleet_controller.sample_model import write_sample

    for path in (file, data):
        if path.exists():
            fail("file_exists", f"{path} exists already; name another file")
    accuracy = write_sample(file, data)
    console.print(f"Wrote {file} and {data}; accuracy on all of its data: {accuracy:.1%}", markup=False)
    console.print(f"Next: edgefleet model add {file} --data {data}", markup=False)


@model_app.command("ls")
def ls(
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the models."""
    with reported_errors(), open_client(url, data_dir) as client:
        models = client.models()
    empty = "No model yet. Add the first one with: edgefleet model add FILE.onnx --data FILE.npz"
    print_list(models, COLUMNS, json_output=json_output, csv_output=csv_output, empty=empty)


@model_app.command("show")
def show(
    model: Annotated[str, typer.Argument(help="Name or identifier.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show one model with what its inspection found, as JSON."""
    with reported_errors(), open_client(url, data_dir) as client:
        print_json(client.model(model))


@model_app.command("analyze")
def analyze(
    model: Annotated[str, typer.Argument(help="Name or identifier.")],
    data: Annotated[
        str | None,
        typer.Option(help="An .npz file with x and y, or the name of a data set; default: the model's own, if any."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="Preset or .json file whose size to expect; may be given several times; default: all presets."
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Validation samples for the sensitivities, at most; default 512.")
    ] = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Look at a model before compression: where size and work are, what each layer can lose, what recipes will leave."""
    recipes = [read_recipe(value) for value in recipe] if recipe else None
    with reported_errors(), open_client(url, data_dir) as client, JobProgress() as progress:
        found = client.analyze_model(model, data=_data(data), recipes=recipes, n_samples=samples)
        if found["state"] not in TERMINAL_JOB_STATES:
            found = client.wait_for_analysis(found["id"], progress.update)
    if found["state"] != "completed":
        error = found["error"] or {"code": found["state"], "message": f"the analysis is {found['state']}"}
        fail(str(error["code"]), str(error["message"]))
    if json_output:
        print_json(found)
    else:
        print_analysis(model, found["result"])
        console.print(f"{client.url}/models/{model}", markup=False)


@model_app.command("analysis")
def show_analysis(
    model: ModelArgument, url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False
) -> None:
    """Show the analysis of a model that was asked for last, and how far it is; it starts none."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.model_analysis(model)
    if json_output:
        print_json(found)
    elif found["result"] is not None:
        print_analysis(model, found["result"])
    else:
        console.print(f"{found['id']} is {found['state']} [{100 * found['progress']:.0f} %]", markup=False)


@model_app.command("cancel-analysis")
def cancel_analysis(
    analysis: Annotated[str, typer.Argument(help="Identifier of the analysis, ana_...")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Stop a waiting or running analysis."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{analysis} is {client.cancel_analysis(analysis)['state']}", markup=False)


def _data(value: str | None) -> Path | str | None:
    if value is None:
        return None
    path = Path(value)
    if path.suffix == ".npz":
        if not path.is_file():
            fail("file_missing", f"{path} is not a file")
        return path
    return value
