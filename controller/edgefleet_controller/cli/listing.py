"""Lists as every command shows them: a table for people, JSON or CSV for programs."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from edgefleet_controller.cli.output import EXIT_USAGE, console, fail, print_json, print_table
from edgefleet_controller.client.rows import csv_of

JsonObject = dict[str, Any]

CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV with a header for programs instead of a table.")]


@dataclass(frozen=True)
class Column:
    """A column of a list. name: in CSV, and the field that it shows unless ``read`` says otherwise; title: in the table.

    show: the cell of the table, out of the value that CSV has.
    """

    name: str
    title: str | None = None
    read: Callable[[Mapping[str, Any]], object] | None = None
    show: Callable[[Any], object] | None = None

    def value(self, document: Mapping[str, Any]) -> object:
        """The value as it is."""
        return document.get(self.name) if self.read is None else self.read(document)

    def cell(self, document: Mapping[str, Any]) -> object:
        """The value as a person reads it; None stays None."""
        value = self.value(document)
        if value is None or self.show is None:
            return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        return self.show(value)


def yes_or_no(value: object) -> str:
    """A truth value in a table."""
    return "yes" if value else "no"


def percent(share: float) -> str:
    """A share in a table."""
    return f"{100 * share:.0f} %"


def refuse_two_forms(*, json_output: bool, csv_output: bool) -> None:
    """End with ``two_formats`` if both forms for programs are asked for."""
    if json_output and csv_output:
        fail("two_formats", "--json and --csv exclude each other; give one of them", status=EXIT_USAGE)


def print_list(
    documents: Sequence[JsonObject],
    columns: Sequence[Column],
    *,
    json_output: bool,
    csv_output: bool,
    empty: str | None = None,
    title: str | None = None,
) -> None:
    """Print the documents; ``empty`` is what a person is told of a list without any."""
    refuse_two_forms(json_output=json_output, csv_output=csv_output)
    if json_output:
        print_json(documents)
    elif csv_output:
        print_csv(documents, columns)
    elif not documents and empty is not None:
        console.print(empty, markup=False)
    else:
        titles = [column.title or column.name.replace("_", " ") for column in columns]
        print_table(titles, [[column.cell(document) for column in columns] for document in documents], title=title)


def print_csv(documents: Sequence[JsonObject], columns: Sequence[Column]) -> None:
    """The columns' values as CSV on standard output."""
    rows = [{column.name: column.value(document) for column in columns} for document in documents]
    sys.stdout.write(csv_of(rows, [column.name for column in columns]))
