"""Devices that stand for those of other tools, whose profiles were imported.

Going down keeps them as replayed ones; they are revoked, so that nothing is ever sent to them.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

OLD_KINDS = "kind IN ('physical', 'simulated', 'emulated', 'replay')"
NEW_KINDS = "kind IN ('physical', 'simulated', 'emulated', 'replay', 'imported')"


def upgrade() -> None:
    """Allow the kind."""
    _allow(NEW_KINDS)


def downgrade() -> None:
    """Allow it no more."""
    op.execute("UPDATE devices SET kind = 'replay' WHERE kind = 'imported'")
    _allow(OLD_KINDS)


def _allow(kinds: str) -> None:
    with op.batch_alter_table("devices") as devices:
        devices.drop_constraint(op.f("ck_devices_kind"), type_="check")
        devices.create_check_constraint(op.f("ck_devices_kind"), kinds)
