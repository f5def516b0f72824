"""``edgefleet user``, ``edgefleet project`` and ``edgefleet audit``."""

import re
import sys
from typing import Annotated, Any

import typer

from edgefleet_controller.cli.listing import Column, CsvOption, print_list
from edgefleet_controller.cli.output import console, fail, print_json, print_table, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client

JsonObject = dict[str, Any]
SIZE = re.compile(r"(?P<number>[1-9][0-9]{0,15})(?P<unit>|[KMGT]iB)")

user_app = typer.Typer(no_args_is_help=True, help="Users: add, list, disable, enable, password.")
project_app = typer.Typer(no_args_is_help=True, help="Projects and the roles of users in them.")

NameArgument = Annotated[str, typer.Argument(help="Name or identifier of the user.")]
ProjectArgument = Annotated[str, typer.Argument(help="Name or identifier of the project.")]
PasswordStdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking for it.")
]

USER_COLUMNS = (
    Column("name"),
    Column("is_admin", "admin"),
    Column("has_password", "password"),
    Column("disabled_at", "disabled"),
    Column("created_at", "created"),
    Column("id"),
)
PROJECT_COLUMNS = (
    Column("name"),
    Column("sent_bytes", "sent"),
    Column("quota_bytes", "quota"),
    Column("created_at", "created"),
    Column("id"),
)
MEMBER_COLUMNS = (Column("user_name", "user"), Column("role"), Column("user_id", "id"))
AUDIT_COLUMNS = (
    Column("id", "no."),
    Column("at"),
    Column("actor", "who"),
    Column("action"),
    Column("object_id", "about"),
    Column("address", "from"),
)


@user_app.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="Name of the user, unique.")],
    admin: Annotated[bool, typer.Option("--admin", help="The user administers the whole fleet.")] = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="API tokens only, as for programs.")] = False,
    password_stdin: PasswordStdinOption = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Add a user. It has no role in any project yet: see `edgefleet project member`."""
    password = None if no_password else _read_password(from_stdin=password_stdin)
    with reported_errors(), open_client(url, data_dir) as client:
        user = client.add_user(name, password=password, is_admin=admin)
    console.print(f"Added {user['name']} ({user['id']})", markup=False)


@user_app.command("ls")
def list_users(
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the users."""
    with reported_errors(), open_client(url, data_dir) as client:
        users = client.users()
    print_list(users, USER_COLUMNS, json_output=json_output, csv_output=csv_output)


@user_app.command("disable")
def disable(name: NameArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Refuse the user's password, sessions and tokens from the next request on."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{client.change_user(name, 'disable')['name']} is disabled", markup=False)


@user_app.command("enable")
def enable(name: NameArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Let a disabled user in again."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{client.change_user(name, 'enable')['name']} may sign in again", markup=False)


@user_app.command("password")
def set_password(
    name: NameArgument,
    password_stdin: PasswordStdinOption = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Give the user a new password; all of the user's sessions end."""
    password = _read_password(from_stdin=password_stdin)
    with reported_errors(), open_client(url, data_dir) as client:
        user = client.change_user(name, "password", {"password": password})
    console.print(f"{user['name']} has a new password", markup=False)


@project_app.command("add")
def add_project(
    name: Annotated[str, typer.Argument(help="Name of the project, unique.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Add a project."""
    with reported_errors(), open_client(url, data_dir) as client:
        project = client.add_project(name)
    console.print(f"Added {project['name']} ({project['id']})", markup=False)


@project_app.command("ls")
def list_projects(
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the projects."""
    with reported_errors(), open_client(url, data_dir) as client:
        projects = client.projects()
    print_list(projects, PROJECT_COLUMNS, json_output=json_output, csv_output=csv_output)


@project_app.command("quota")
def set_quota(
    project: ProjectArgument,
    size: Annotated[str, typer.Argument(help="Bytes, or such as 50GiB; none: by the store's own quota only.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Limit what a project's people and boards may have sent."""
    quota_bytes = None if size == "none" else read_size(size)
    with reported_errors(), open_client(url, data_dir) as client:
        changed = client.set_project_quota(project, quota_bytes)
    quota = changed["quota_bytes"]
    said = "has no quota of its own" if quota is None else f"may send {quota:,} bytes"
    console.print(f"{changed['name']} {said}; it has sent {changed['sent_bytes']:,}", markup=False)


@project_app.command("member")
def member(
    project: ProjectArgument,
    user: NameArgument,
    role: Annotated[str, typer.Option(help="viewer, operator, admin, or none to take the role away.")] = "operator",
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Give a user a role in a project, or take it away."""
    with reported_errors(), open_client(url, data_dir) as client:
        client.set_member(project, user, None if role == "none" else role)
    message = f"{user} is {role} in {project}" if role != "none" else f"{user} has no part in {project} any more"
    console.print(message, markup=False)


@project_app.command("members")
def members(
    project: ProjectArgument,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List who may do what in a project."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.members(project)
    print_list(found, MEMBER_COLUMNS, json_output=json_output, csv_output=csv_output)


def audit(
    limit: Annotated[int, typer.Option(min=1, max=200, help="Entries to show, newest first.")] = 50,
    about: Annotated[str | None, typer.Option(help="Only entries about this identifier.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only entries of this user, token or device.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compute the chain of hashes again instead.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Show who changed what, or check that nobody changed the log."""
    with reported_errors(), open_client(url, data_dir) as client:
        if not check:
            entries = client.audit(limit=limit, object_id=about, actor=actor)
            print_list(entries, AUDIT_COLUMNS, json_output=json_output, csv_output=csv_output)
            return
        found = client.check_audit()
    if json_output:
        print_json(found)
    else:
        _print_check(found)
    if found["first_broken"] is not None:
        raise typer.Exit(1)


def whoami(url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False) -> None:
    """Show who the token is of, and what it may do where."""
    with reported_errors(), open_client(url, data_dir) as client:
        me = client.me()
    if json_output:
        print_json(me)
        return
    console.print(f"{me['name']}{', administers the fleet' if me['is_admin'] else ''}", markup=False)
    print_table(("project", "role"), list(me["roles"].items()))


def password(url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Change your own password, of which standard input gives the present and the new one, a line each, or a terminal is asked."""
    present = _read_password(from_stdin=not sys.stdin.isatty(), prompt="Present password", confirm=False)
    new = _read_password(from_stdin=not sys.stdin.isatty(), prompt="New password")
    with reported_errors(), open_client(url, data_dir) as client:
        client.change_password(present, new)
    console.print("Your password is changed, and your sessions have ended.")


def _print_check(found: JsonObject) -> None:
    if found["first_broken"] is None:
        console.print(f"{found['n_entries']} entries, all whole; the newest has the hash {found['last_sha256']}")
    else:
        console.print(f"entry {found['first_broken']} was changed, or an entry before it is missing")


def read_size(text: str) -> int:
    """Bytes of a text such as ``50GiB`` or ``1000000``; ends with ``size_invalid`` if it is none."""
    found = SIZE.fullmatch(text)
    if found is None:
        fail("size_invalid", f"{text!r} is no size; give bytes, or such as 500MiB, 50GiB or 2TiB", status=2)
    return int(found["number"]) << 10 * ("", "KiB", "MiB", "GiB", "TiB").index(found["unit"])


def _read_password(*, from_stdin: bool, prompt: str = "Password", confirm: bool = True) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        fail("password_missing", "no terminal to ask for the password on; use --password-stdin", status=2)
    return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm))
