"""The recurring look at open rollouts."""

from edgefleet_controller.db.tables import AgentRelease
from edgefleet_controller.rollouts import repository, service
from edgefleet_controller.rollouts.stages import OPEN
from edgefleet_controller.services import Services


def move_rollouts(services: Services) -> bool:
    """Take each open rollout on, remember which boards are due, and wake those among them that wait for work.

    Whether any was open.
    """
    due: set[str] = set()
    with services.database.reading() as session:
        rollout_ids = repository.open_rollouts(session)
    for rollout_id in rollout_ids:
        with services.database.writing() as session:
            rollout = repository.find_locked(session, rollout_id)
            if rollout is None:
                continue
            service.advance(session, rollout, session.get_one(AgentRelease, rollout.release_id).version)
            if rollout.state in OPEN:
                due |= set(repository.due_devices(session, rollout))
    for device_id in services.desk.offers.replace(due):
        services.wakeups.notify(f"device:{device_id}")
    return bool(rollout_ids)
