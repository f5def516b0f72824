"""How far a device's predictions agree with those of the compiling host."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the figures to the results; older ones have none."""
    with op.batch_alter_table("results") as results:
        results.add_column(sa.Column("host_agreement", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Drop the figures; predictions stay in the store."""
    with op.batch_alter_table("results") as results:
        results.drop_column("host_agreement")
