"""Holds, maintenance windows, cool-down and quarantine of devices; runs that any fitting device may take; rollouts.

Going down removes what the older schema cannot hold: runs that no device took yet. Devices that drain or are quarantined
become held ones.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UNASSIGNED = sa.text("state = 'queued' AND device_id IS NULL")
QUEUED = sa.text("state = 'queued'")
LEASED = sa.text("state = 'leased'")
OLD_STATES = "state IN ('registered', 'active', 'held', 'revoked')"
NEW_STATES = "state IN ('registered', 'active', 'held', 'draining', 'quarantined', 'revoked')"


def upgrade() -> None:
    """Add what dispatch needs to know."""
    op.create_table(
        "requirements",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_requirements")),
    )
    _widen_devices()
    op.drop_index("uq_runs_leased_device", table_name="runs")
    with op.batch_alter_table("runs") as runs:
        runs.alter_column("device_id", existing_type=sa.String(), nullable=True)
        runs.add_column(sa.Column("requirement_sha256", sa.String(64), nullable=True))
        runs.add_column(sa.Column("slot", sa.Integer(), nullable=True))
        runs.add_column(sa.Column("artifact_sha256", sa.String(64), nullable=True))
        runs.add_column(sa.Column("leased_to", sa.String(), nullable=True))
        runs.create_foreign_key(
            op.f("fk_runs_requirement_sha256_requirements"), "requirements", ["requirement_sha256"], ["sha256"]
        )
        runs.create_unique_constraint("uq_runs_slot", ["variant_id", "settings_ordinal", "slot"])
        runs.create_check_constraint(
            op.f("ck_runs_has_a_device_or_a_requirement"), "device_id IS NOT NULL OR requirement_sha256 IS NOT NULL"
        )
        runs.create_check_constraint(
            op.f("ck_runs_is_leased_by_a_device"), "device_id IS NOT NULL OR state <> 'leased'"
        )
    _create_leased_index()
    op.create_index(
        "ix_runs_unassigned",
        "runs",
        ["requirement_sha256", "priority", "id"],
        sqlite_where=UNASSIGNED,
        postgresql_where=UNASSIGNED,
    )
    op.create_index(
        "ix_runs_same_artifact",
        "runs",
        ["artifact_sha256", "device_id", "priority", "id"],
        sqlite_where=QUEUED,
        postgresql_where=QUEUED,
    )
    _create_rollouts()


def downgrade() -> None:
    """Take it away again."""
    for table in ("rollout_devices", "rollouts", "agent_releases"):
        op.drop_table(table)
    op.execute("DELETE FROM runs WHERE device_id IS NULL")
    op.drop_index("ix_runs_same_artifact", table_name="runs")
    op.drop_index("ix_runs_unassigned", table_name="runs")
    op.drop_index("uq_runs_leased_device", table_name="runs")
    with op.batch_alter_table("runs") as runs:
        runs.drop_constraint(op.f("ck_runs_is_leased_by_a_device"), type_="check")
        runs.drop_constraint(op.f("ck_runs_has_a_device_or_a_requirement"), type_="check")
        runs.drop_constraint("uq_runs_slot", type_="unique")
        runs.drop_constraint(op.f("fk_runs_requirement_sha256_requirements"), type_="foreignkey")
        for name in ("leased_to", "artifact_sha256", "slot", "requirement_sha256"):
            runs.drop_column(name)
        runs.alter_column("device_id", existing_type=sa.String(), nullable=False)
    _create_leased_index()
    _narrow_devices()
    op.drop_table("requirements")


def _create_leased_index() -> None:
    # made again by hand: reflection on SQLite loses a partial index's condition in some versions
    op.create_index(
        "uq_runs_leased_device", "runs", ["device_id"], unique=True, sqlite_where=LEASED, postgresql_where=LEASED
    )


def _widen_devices() -> None:
    with op.batch_alter_table("devices") as devices:
        devices.drop_constraint(op.f("ck_devices_state"), type_="check")
        devices.create_check_constraint(op.f("ck_devices_state"), NEW_STATES)
        devices.add_column(sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True))
        devices.add_column(sa.Column("held_by", sa.String(), nullable=True))
        devices.add_column(sa.Column("held_reason", sa.String(), nullable=True))
        devices.add_column(sa.Column("held_until", sa.DateTime(timezone=True), nullable=True))
        devices.add_column(sa.Column("windows", sa.JSON(), nullable=True))
        devices.add_column(sa.Column("cool_down_s", sa.Double(), nullable=False, server_default="0"))
        devices.add_column(sa.Column("rests_until", sa.DateTime(timezone=True), nullable=True))
        devices.add_column(sa.Column("last_artifact_sha256", sa.String(64), nullable=True))
        devices.add_column(sa.Column("is_reserved", sa.Boolean(), nullable=False, server_default=sa.false()))
        devices.add_column(sa.Column("failures", sa.JSON(), nullable=True))
        devices.create_index(op.f("ix_devices_changed_at"), ["changed_at"])


def _narrow_devices() -> None:
    op.execute("UPDATE devices SET state = 'held' WHERE state IN ('draining', 'quarantined')")
    with op.batch_alter_table("devices") as devices:
        devices.drop_index(op.f("ix_devices_changed_at"))
        for name in (
            "failures",
            "is_reserved",
            "last_artifact_sha256",
            "rests_until",
            "cool_down_s",
            "windows",
            "held_until",
            "held_reason",
            "held_by",
            "changed_at",
        ):
            devices.drop_column(name)
        devices.drop_constraint(op.f("ck_devices_state"), type_="check")
        devices.create_check_constraint(op.f("ck_devices_state"), OLD_STATES)


def _create_rollouts() -> None:
    op.create_table(
        "agent_releases",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("wheel_name", sa.String(), nullable=False),
        sa.Column("wheel_sha256", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["wheel_sha256"], ["blobs.sha256"], name=op.f("fk_agent_releases_wheel_sha256_blobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent_releases")),
        sa.UniqueConstraint("version", name=op.f("uq_agent_releases_version")),
    )
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("release_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("max_failures", sa.Integer(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('canary', 'rolling', 'completed', 'stopped', 'cancelled')", name=op.f("ck_rollouts_state")
        ),
        sa.ForeignKeyConstraint(
            ["release_id"], ["agent_releases.id"], name=op.f("fk_rollouts_release_id_agent_releases")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
    )
    op.create_table(
        "rollout_devices",
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("is_canary", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("from_version", sa.String(), nullable=True),
        sa.Column("message", sa.String(), nullable=True),
        sa.Column("offered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'offered', 'succeeded', 'failed')", name=op.f("ck_rollout_devices_state")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_rollout_devices_device_id_devices")),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name=op.f("fk_rollout_devices_rollout_id_rollouts")),
        sa.PrimaryKeyConstraint("rollout_id", "device_id", name=op.f("pk_rollout_devices")),
    )
