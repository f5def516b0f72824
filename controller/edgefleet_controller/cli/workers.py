"""``edgefleet workers``."""

from edgefleet_controller.cli.listing import Column, CsvOption, print_list
from edgefleet_controller.cli.output import reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client

COLUMNS = (Column("name"), Column("state"), Column("queues"), Column("host"), Column("heartbeat_at", "heard of"))


def list_workers(
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the workers: what they take, and whether they live."""
    with reported_errors(), open_client(url, data_dir) as client:
        workers = client.workers()
    print_list(workers, COLUMNS, json_output=json_output, csv_output=csv_output)
