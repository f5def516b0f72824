"""Analyses of networks before compression, and metrics of a device's predictions beside top-1."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of analyses and the column of metrics; older results have none."""
    op.create_table(
        "analyses",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'completed', 'failed', 'cancelled')", name=op.f("ck_analyses_state")
        ),
        sa.ForeignKeyConstraint(["model_sha256"], ["blobs.sha256"], name=op.f("fk_analyses_model_sha256_blobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analyses")),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_analyses_key_sha256")),
    )
    op.create_index(op.f("ix_analyses_model_sha256"), "analyses", ["model_sha256"])
    with op.batch_alter_table("results") as results:
        results.add_column(sa.Column("metrics", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Drop both; an analysis can be made again from its model."""
    with op.batch_alter_table("results") as results:
        results.drop_column("metrics")
    op.drop_index(op.f("ix_analyses_model_sha256"), table_name="analyses")
    op.drop_table("analyses")
