"""Indexes for the pages' lists: a device's last runs, and the figures of all results without their reports."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

FIGURES = (
    "run_id",
    "job_id",
    "provenance",
    "verdict",
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p99_ms",
    "peak_memory_bytes",
    "accuracy",
    "energy_mj",
    "created_at",
)


def upgrade() -> None:
    """Add them."""
    op.create_index("ix_runs_device_finished", "runs", ["device_id", "finished_at"])
    op.create_index("ix_results_figures", "results", list(FIGURES))


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_results_figures", table_name="results")
    op.drop_index("ix_runs_device_finished", table_name="runs")
