"""When a file was last used, and when raw samples were removed after their retention."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = ("used_at", "expired_at")


def upgrade() -> None:
    """Add both instants; of older files neither is known, and none has expired."""
    with op.batch_alter_table("blobs") as blobs:
        for name in COLUMNS:
            blobs.add_column(sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Drop both; expired samples then look like files that are missing."""
    with op.batch_alter_table("blobs") as blobs:
        for name in reversed(COLUMNS):
            blobs.drop_column(name)
