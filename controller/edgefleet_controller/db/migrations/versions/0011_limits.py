"""A quota for each project, and refused sign-ins counted for all API processes together."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; no project has a quota yet."""
    with op.batch_alter_table("projects") as projects:
        projects.add_column(sa.Column("quota_bytes", sa.BigInteger(), nullable=True))
    op.create_index("ix_blob_owners_project_id", "blob_owners", ["project_id"])
    op.create_table(
        "refusal_buckets",
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("full_at_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key_sha256", name="pk_refusal_buckets"),
    )
    op.create_index("ix_refusal_buckets_full_at_s", "refusal_buckets", ["full_at_s"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("refusal_buckets")
    op.drop_index("ix_blob_owners_project_id", table_name="blob_owners")
    with op.batch_alter_table("projects") as projects:
        projects.drop_column("quota_bytes")
