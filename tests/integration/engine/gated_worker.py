"""A worker whose steps are those of ``gated_step``; arguments: its name and its queues."""

import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgefleet_controller.engine.child_process import ChildLimits, run_child_step
from edgefleet_controller.settings import Settings
from edgefleet_controller.workflows.compute import HostCompute
from edgefleet_controller.workflows.worker import start_worker


class GatedCompute(HostCompute):
    """Starts the gated step where a real one is asked for."""

    async def run(
        self, module: str, request: Mapping[str, Any], *, report: Callable[[str, dict[str, Any]], None]
    ) -> dict[str, Any]:
        return await run_child_step("gated_step", request, on_event=lambda event: None, limits=ChildLimits())


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    settings = Settings()
    compute = GatedCompute(Path(settings.work_dir), limits=ChildLimits())
    queues = tuple(sys.argv[2].split(",")) if len(sys.argv) > 2 else ()
    start_worker(settings, name=sys.argv[1], queues=queues, follow_stdin=True, compute=compute)


if __name__ == "__main__":
    main()
