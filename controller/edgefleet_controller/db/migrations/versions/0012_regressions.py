"""Changes of what artifacts measure, and webhooks that tell of them."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and the indexes by which results are looked at once and histories are found."""
    op.create_index("ix_results_created", "results", ["created_at", "run_id"])
    op.create_index("ix_runs_history", "runs", ["artifact_sha256", "device_id", "id"])
    _regressions()
    op.create_table(
        "watch_cursors",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_watch_cursors"),
    )
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False, server_default="prj_default"),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_webhooks_project_id_projects"),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    op.create_index("ix_webhooks_project_id", "webhooks", ["project_id"])
    _deliveries()


def _regressions() -> None:
    op.create_table(
        "regressions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False, server_default="prj_default"),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("artifact_sha256", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("changed_run_id", sa.String(), nullable=False),
        sa.Column("figure", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("ratio", "before", "after")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("n_before", "n_after")),
        sa.Column("p_value", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.String(), nullable=True),
        sa.CheckConstraint("figure IN ('latency_p50_ms', 'energy_mj')", name=op.f("ck_regressions_figure")),
        sa.CheckConstraint("direction IN ('worse', 'better')", name=op.f("ck_regressions_direction")),
        sa.CheckConstraint("ratio > 0", name=op.f("ck_regressions_ratio_is_positive")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_regressions_project_id_projects"),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name="fk_regressions_device_id_devices"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_regressions_run_id_runs"),
        sa.ForeignKeyConstraint(["changed_run_id"], ["runs.id"], name="fk_regressions_changed_run_id_runs"),
        sa.PrimaryKeyConstraint("id", name="pk_regressions"),
        sa.UniqueConstraint("run_id", "figure", name="uq_regressions_run_id"),
    )
    op.create_index("ix_regressions_project_id", "regressions", ["project_id"])
    op.create_index("ix_regressions_device_id", "regressions", ["device_id"])
    op.create_index("ix_regressions_series", "regressions", ["artifact_sha256", "device_id", "figure"])


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("webhook_id", sa.String(), nullable=False),
        sa.Column("regression_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('queued', 'delivered', 'failed')", name=op.f("ck_webhook_deliveries_state")),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name="fk_webhook_deliveries_webhook_id_webhooks", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["regression_id"], ["regressions.id"], name="fk_webhook_deliveries_regression_id_regressions"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
    )
    op.create_index("ix_webhook_deliveries_webhook_id", "webhook_deliveries", ["webhook_id"])
    op.create_index("ix_webhook_deliveries_due", "webhook_deliveries", ["state", "due_at"])


def downgrade() -> None:
    """Drop them."""
    for table in ("webhook_deliveries", "webhooks", "watch_cursors", "regressions"):
        op.drop_table(table)
    op.drop_index("ix_runs_history", table_name="runs")
    op.drop_index("ix_results_created", table_name="results")
