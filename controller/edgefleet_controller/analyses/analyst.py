"""Carries out queued analyses in child processes of the API process, as inspections are.

The store says what is queued: after a crash, a stop or a cancel nothing is lost and nothing runs on.
"""

import asyncio
import contextlib
import logging
import os
from typing import Any, Final

from edgefleet_controller.analyses import service
from edgefleet_controller.db.tables import Analysis
from edgefleet_controller.engine.step_limits import step_limits
from edgefleet_controller.services import Services
from edgefleet_controller.settings import Settings
from edgefleet_controller.workflows.compute import HostCompute, named_link
from edgefleet_controller.workflows.failures import as_step_failure, stored_file

JsonObject = dict[str, Any]

QUEUED: Final = "analyses"
"""What the wakeups call the arrival of a new analysis."""
COMPRESSION_STEP: Final = "edgefleet_compression.step"
SIGN_INTERVAL_S: Final = 5.0
LOOK_S: Final = 15.0
"""Between two looks for analyses should nobody tell of one; the sweeper tells of those that other processes queue."""
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""The child writes no results; libraries may write a cache."""

LOG = logging.getLogger(__name__)


class Analyst:
    """Takes one analysis after the other; never beside a measurement of an agent on the same host."""

    def __init__(self, services: Services, compute: HostCompute) -> None:
        self._services = services
        self._compute = compute

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            with self._services.wakeups.waiting_for(QUEUED) as waiter:
                try:
                    while await self.carry_out_next():
                        continue
                except Exception:  # the store may be away for a moment; the next look finds the same work
                    LOG.exception("an analysis was not carried out; it is tried again")
                await waiter.wait(LOOK_S)

    async def carry_out_next(self) -> bool:
        """Carry out the oldest queued analysis; False when there is none."""
        row = await asyncio.to_thread(self._claim)
        if row is None:
            return False
        work = asyncio.create_task(self._analyze(row))
        signs = asyncio.create_task(self._give_signs(row.id, work))
        try:
            await asyncio.wait([work])
        finally:
            signs.cancel()
            stopped = work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work, signs])
            if stopped:  # this process stops
                self._record(service.put_back, row.id)
        if not work.cancelled():
            work.result()  # raises where the store did not take the end
        self._services.wakeups.notify(f"analysis:{row.id}")
        return True

    async def _analyze(self, row: Analysis) -> None:
        """Run the child and record its end, whatever it is."""
        result, error = None, None
        try:
            async with self._compute.scratch(f"analyze-{row.id}") as folder:
                model = stored_file(self._services.blobs, row.model_sha256)
                request = {
                    "task": "analyze",
                    "model": str(named_link(folder, f"model.{row.request['model_format']}", model)),
                    "data": self._data(folder, row.request["data"]),
                    "recipes": row.request["recipes"],
                    "n_samples": row.request["n_samples"],
                    "threads": max(1, (os.cpu_count() or 1) // 2),
                }
                result = await self._compute.run(
                    COMPRESSION_STEP,
                    request,
                    report=lambda message, event: self._record(service.report, row.id, message, event),
                )
        except Exception as err:  # noqa: BLE001  # the rim of the step: every end is recorded with the analysis
            error = as_step_failure(err).as_json()
        await asyncio.to_thread(self._record, service.finish, row.id, result=result, error=error)

    def _data(self, folder: Any, data: JsonObject | None) -> JsonObject | None:
        if data is None or data.get("kind") != "npz":
            return data
        file = stored_file(self._services.blobs, str(data["sha256"]))
        return {"kind": "npz", "path": str(named_link(folder, "data.npz", file))}

    async def _give_signs(self, analysis_id: str, work: "asyncio.Task[None]") -> None:
        """Say every few seconds that it goes on; end the child when it was cancelled in the store."""
        while True:
            await asyncio.sleep(SIGN_INTERVAL_S)
            if not await asyncio.to_thread(self._record, service.give_sign, analysis_id):
                work.cancel()

    def _claim(self) -> Analysis | None:
        with self._services.database.reading() as session:
            if not service.has_work(session):
                return None
        with self._services.database.writing() as session:
            row = service.claim(session)
            if row is not None:
                session.flush()
                session.refresh(row)
                session.expunge(row)
            return row

    def _record(self, write: Any, *arguments: Any, **fields: Any) -> Any:
        with self._services.database.writing() as session:
            return write(session, *arguments, **fields)


def make_analyst(services: Services, settings: Settings) -> Analyst:
    """An analyst with the limits that are set."""
    limits = step_limits(settings, MAX_FILE_BYTES)
    return Analyst(services, HostCompute(settings.work_dir / "analyses", limits=limits))
