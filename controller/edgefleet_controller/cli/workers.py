"""``edgefleet workers``."""

from edgefleet_controller.cli.output import print_json, print_table, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client


def list_workers(url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False) -> None:
    """List the workers: what they take, and whether they live."""
    with reported_errors(), open_client(url, data_dir) as client:
        workers = client.workers()
    if json_output:
        print_json(workers)
        return
    print_table(
        ("name", "state", "queues", "host", "heard of"),
        [(w["name"], w["state"], ", ".join(w["queues"]), w["host"], w["heartbeat_at"]) for w in workers],
    )
