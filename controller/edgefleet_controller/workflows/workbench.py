"""What the work of a job's tasks is done with on this host."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.clock import Clock
from edgefleet_controller.db.database import Database
from edgefleet_controller.jobs.training import LEAST_STEP, TRAINING, figures_of
from edgefleet_controller.workflows.claims import StepClaims
from edgefleet_controller.workflows.compute import HostCompute, named_link
from edgefleet_controller.workflows.failures import stored_file
from edgefleet_controller.workflows.journal import Journal
from edgefleet_controller.workflows.repository import VariantWork

JsonObject = dict[str, Any]

COMPRESSION_STEP = "edgefleet_compression.step"
DEPLOY_STEP = "edgefleet_deploy.step"
LOGGED_SHARE = 0.1
"""Progress is logged as an event each time this share of a step is done."""


@dataclass(frozen=True)
class Workbench:
    """Store, files and child processes. ``claims`` is None where nobody else works on the store."""

    database: Database
    blobs: BlobStore
    clock: Clock
    compute: HostCompute
    threads: int
    journal: Journal
    claims: StepClaims | None = None

    def link(self, folder: Path, name: str, sha256: str) -> str:
        """A stored file under a name that tools go by."""
        return str(named_link(folder, name, stored_file(self.blobs, sha256)))

    @asynccontextmanager
    async def claimed(self, variant: VariantWork, key_sha256: str) -> AsyncIterator[bool]:
        """Whether this variant is to make what has this key; False while a live worker makes it for another one."""
        if self.claims is None or variant.no_cache:
            yield True
            return
        async with self.claims.held(key_sha256, variant.variant_id) as is_mine:
            yield is_mine

    def data_spec(self, folder: Path, data: JsonObject | None) -> JsonObject | None:
        """The data set as a step reads it: a person's own file by path, another one by name."""
        if data is None or data.get("kind") != "npz":
            return data
        link = folder / "data.npz"
        path = str(link) if link.is_symlink() else self.link(folder, link.name, str(data["sha256"]))
        return {"kind": "npz", "path": path}

    def progress_of(self, variant: VariantWork, step: str) -> Callable[[str, JsonObject], None]:
        """Shows a step's progress to those who follow the job, and logs it from time to time."""
        logged, drawn = [0.0], [-LEAST_STEP]

        def report(message: str, event: JsonObject) -> None:
            fraction = event.get("fraction")
            share = f" {100 * fraction:.0f} %" if isinstance(fraction, int | float) else ""
            text = f"{variant.name}: {step}{share} {message}".rstrip()
            self.journal.say(variant.job_id, text)
            if isinstance(fraction, int | float) and fraction >= logged[0] + LOGGED_SHARE:
                logged[0] = float(fraction)
                self.journal.note(variant, "progress", text, step=step, fraction=fraction)
            figures = figures_of(event)
            if figures and isinstance(fraction, int | float) and fraction >= drawn[0] + LEAST_STEP:
                drawn[0] = float(fraction)
                self.journal.note(variant, TRAINING, text, step=step, fraction=fraction, figures=figures)

        return report
