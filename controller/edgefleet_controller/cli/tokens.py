"""``edgefleet token issue``, ``ls`` and ``revoke``: API tokens."""

from typing import Annotated, Any

import typer

from edgefleet_controller.cli.devices import token_app
from edgefleet_controller.cli.listing import Column, CsvOption, print_list
from edgefleet_controller.cli.output import console, print_json, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client

DAY_S = 86400.0
COLUMNS = (
    Column("name"),
    Column("hint", "token"),
    Column("role"),
    Column("project_id", "project"),
    Column("expires_at", "expires"),
    Column("revoked_at", "revoked"),
    Column("id"),
)

__all__ = ["token_app"]


@token_app.command("issue")
def issue(
    name: Annotated[str, typer.Argument(help="What the token is for.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin: most that it may do.")] = "operator",
    user: Annotated[str | None, typer.Option(help="Whose it is; needed with the operator token.")] = None,
    project: Annotated[str | None, typer.Option(help="The only project it is for; default: all of the user's.")] = None,
    days: Annotated[float, typer.Option(help="Life in days; 0: without end.")] = 90.0,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make an API token; it is shown this once."""
    fields: dict[str, Any] = {"role": role, "user": user, "project": project, "ttl_s": days * DAY_S or None}
    with reported_errors(), open_client(url, data_dir) as client:
        made = client.issue_token(name, **fields)
    if json_output:
        print_json(made)
    else:
        console.print(made["token"], markup=False)


@token_app.command("ls")
def ls(
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List API tokens, without their secrets."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.tokens()
    print_list(found, COLUMNS, json_output=json_output, csv_output=csv_output)


@token_app.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(help="Identifier of the token, tok_...")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Refuse a token from its next request on."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{client.revoke_token(token_id)['name']} is revoked", markup=False)
