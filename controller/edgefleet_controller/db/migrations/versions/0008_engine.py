"""Workers, leader, claims of steps, fair queuing; deadlines, dependencies and repeated measurements of jobs.

Going down ends jobs that wait for others: the older schema has no such state.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

OLD_STATES = "state IN ('queued', 'running', 'cancelling', 'cancelled', 'completed', 'failed')"
NEW_STATES = "state IN ('waiting', 'queued', 'running', 'cancelling', 'cancelled', 'completed', 'failed')"
PRIORITIES = "priority IN ('low', 'normal', 'high')"
COMPUTE = "compute IN ('cpu', 'gpu')"


def upgrade() -> None:
    """Add what a distributed engine needs to know."""
    _create_workers()
    op.create_table(
        "step_claims",
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("variant_id", sa.String(), nullable=False),
        sa.Column("incarnation", sa.String(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_sha256", name=op.f("pk_step_claims")),
    )
    op.create_table(
        "fair_clocks",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("virtual_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_fair_clocks")),
    )
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_constraint(op.f("ck_jobs_state"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_state"), NEW_STATES)
        jobs.add_column(sa.Column("priority", sa.String(), nullable=False, server_default="normal"))
        jobs.add_column(sa.Column("fair_end", sa.BigInteger(), nullable=True))
        jobs.add_column(sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True))
        jobs.add_column(sa.Column("identity_sha256", sa.String(64), nullable=True))
        jobs.add_column(sa.Column("remeasure_of", sa.String(), nullable=True))
        jobs.add_column(sa.Column("n_restarts", sa.Integer(), nullable=False, server_default="0"))
        jobs.create_check_constraint(op.f("ck_jobs_priority"), PRIORITIES)
        jobs.create_index(op.f("ix_jobs_identity_sha256"), ["identity_sha256"])
        jobs.create_index(op.f("ix_jobs_state"), ["state"])
    with op.batch_alter_table("variants") as variants:
        variants.add_column(sa.Column("fair_tag", sa.BigInteger(), nullable=False, server_default="10000"))
        variants.add_column(sa.Column("compute", sa.String(), nullable=False, server_default="cpu"))
        variants.create_check_constraint(op.f("ck_variants_compute"), COMPUTE)
    op.create_table(
        "job_dependencies",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("after_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_dependencies_job_id_jobs")),
        sa.ForeignKeyConstraint(["after_id"], ["jobs.id"], name=op.f("fk_job_dependencies_after_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "after_id", name=op.f("pk_job_dependencies")),
    )
    op.create_index(op.f("ix_job_dependencies_after_id"), "job_dependencies", ["after_id"])


def downgrade() -> None:
    """Take it away again."""
    op.drop_index(op.f("ix_job_dependencies_after_id"), table_name="job_dependencies")
    op.drop_table("job_dependencies")
    with op.batch_alter_table("variants") as variants:
        variants.drop_constraint(op.f("ck_variants_compute"), type_="check")
        variants.drop_column("compute")
        variants.drop_column("fair_tag")
    op.execute("UPDATE jobs SET state = 'cancelled' WHERE state = 'waiting'")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_index(op.f("ix_jobs_state"))
        jobs.drop_index(op.f("ix_jobs_identity_sha256"))
        jobs.drop_constraint(op.f("ck_jobs_priority"), type_="check")
        for name in ("n_restarts", "remeasure_of", "identity_sha256", "deadline_at", "fair_end", "priority"):
            jobs.drop_column(name)
        jobs.drop_constraint(op.f("ck_jobs_state"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_state"), OLD_STATES)
    for table in ("fair_clocks", "step_claims", "leader_leases", "workers"):
        op.drop_table(table)


def _create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("incarnation", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('active', 'stopped', 'dead')", name=op.f("ck_workers_state")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
        sa.UniqueConstraint("incarnation", name=op.f("uq_workers_incarnation")),
    )
    op.create_table(
        "leader_leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("acquired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leader_leases")),
    )
