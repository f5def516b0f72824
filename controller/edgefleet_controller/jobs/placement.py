"""Whether a variant is compressed on a CPU or on a GPU."""

from datetime import timedelta
from typing import Literal

from sqlalchemy.orm import Session

from edgefleet_compression.recipe import Recipe
from edgefleet_controller.db.database_clock import database_now
from edgefleet_controller.engine.protocol import GPU_QUEUE
from edgefleet_controller.workers import repository as workers

Compute = Literal["auto", "cpu", "gpu"]
TRAINING_PASSES = frozenset({"train", "lottery_ticket"})
"""Kinds of pass that gain from a GPU; the others take seconds to minutes on a CPU."""
WORKER_SEEN = timedelta(seconds=120)
"""How long ago a worker with a GPU may have been heard of for ``auto`` to wait for it."""


def choose_compute(session: Session, wanted: Compute, recipe: Recipe) -> Literal["cpu", "gpu"]:
    """Where the recipe is carried out; a recipe that trains nothing never takes a GPU."""
    if wanted == "cpu" or not any(item.kind in TRAINING_PASSES for item in recipe.passes):
        return "cpu"
    if wanted == "gpu":
        return "gpu"
    alive = workers.live_queues(session, database_now(session) - WORKER_SEEN)
    return "gpu" if GPU_QUEUE in alive else "cpu"
