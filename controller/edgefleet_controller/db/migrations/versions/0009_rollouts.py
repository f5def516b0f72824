"""States of a board in a rollout: rolled back is told from failed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NAME = "ck_rollout_devices_state"
OLD_STATES = "state IN ('waiting', 'offered', 'succeeded', 'failed')"
NEW_STATES = "state IN ('pending', 'offered', 'updated', 'failed', 'rolled_back')"


def upgrade() -> None:
    """Rename two states and add one."""
    _exchange(NEW_STATES, {"waiting": "pending", "succeeded": "updated"})


def downgrade() -> None:
    """Back; what was rolled back has failed."""
    _exchange(OLD_STATES, {"pending": "waiting", "updated": "succeeded", "rolled_back": "failed"})


def _exchange(states: str, renamed: dict[str, str]) -> None:
    with op.batch_alter_table("rollout_devices") as devices:
        devices.drop_constraint(op.f(NAME), type_="check")
    table = sa.table("rollout_devices", sa.column("state", sa.String()))
    for before, after in renamed.items():
        op.execute(table.update().where(table.c.state == before).values(state=after))
    with op.batch_alter_table("rollout_devices") as devices:
        devices.create_check_constraint(op.f(NAME), states)
