"""Users, projects, tokens, owners of files and the audit log; projects and makers of things; keys of devices.

What is there belongs to the project ``default``. Going down removes devices that wait to be accepted from that state:
they become held ones.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OWNED = ("devices", "join_tokens", "models", "jobs", "comparisons")
OLD_STATES = "state IN ('registered', 'active', 'held', 'draining', 'quarantined', 'revoked')"
NEW_STATES = "state IN ('registered', 'pending', 'active', 'held', 'draining', 'quarantined', 'revoked')"
DEVICE_COLUMNS = (
    ("public_key", sa.String(64)),
    ("credential_issued_at", sa.DateTime(timezone=True)),
    ("previous_credential_sha256", sa.String(64)),
    ("previous_credential_until", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    """Add the tables and give everything an owner."""
    op.create_table(
        "projects",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.execute(
        "INSERT INTO projects (id, name, created_at) VALUES ('prj_default', 'default', '2026-01-01 00:00:00.000000')"
    )
    _create_people()
    _create_blob_owners()
    _create_audit_log()
    for table in OWNED:
        with op.batch_alter_table(table) as owned:
            owned.add_column(sa.Column("project_id", sa.String(), nullable=False, server_default="prj_default"))
            owned.add_column(sa.Column("created_by", sa.String(), nullable=True))
            owned.create_foreign_key(op.f(f"fk_{table}_project_id_projects"), "projects", ["project_id"], ["id"])
            owned.create_index(op.f(f"ix_{table}_project_id"), ["project_id"])
    with op.batch_alter_table("devices") as devices:
        devices.drop_constraint(op.f("ck_devices_state"), type_="check")
        devices.create_check_constraint(op.f("ck_devices_state"), NEW_STATES)
        for name, kind in DEVICE_COLUMNS:
            devices.add_column(sa.Column(name, kind, nullable=True))
        devices.create_unique_constraint(op.f("uq_devices_previous_credential_sha256"), ["previous_credential_sha256"])
    with op.batch_alter_table("join_tokens") as join_tokens:
        join_tokens.add_column(sa.Column("board", sa.String(), nullable=True))
        join_tokens.add_column(sa.Column("serial", sa.String(), nullable=True))
        join_tokens.add_column(sa.Column("auto_accept", sa.Boolean(), nullable=False, server_default=sa.true()))


def downgrade() -> None:
    """Take it away again; secrets of users and tokens are gone for good."""
    op.execute("UPDATE devices SET state = 'held' WHERE state = 'pending'")
    with op.batch_alter_table("join_tokens") as join_tokens:
        for name in ("auto_accept", "serial", "board"):
            join_tokens.drop_column(name)
    with op.batch_alter_table("devices") as devices:
        devices.drop_constraint(op.f("uq_devices_previous_credential_sha256"), type_="unique")
        for name, _ in DEVICE_COLUMNS:
            devices.drop_column(name)
        devices.drop_constraint(op.f("ck_devices_state"), type_="check")
        devices.create_check_constraint(op.f("ck_devices_state"), OLD_STATES)
    for table in OWNED:
        with op.batch_alter_table(table) as owned:
            owned.drop_index(op.f(f"ix_{table}_project_id"))
            owned.drop_constraint(op.f(f"fk_{table}_project_id_projects"), type_="foreignkey")
            owned.drop_column("created_by")
            owned.drop_column("project_id")
    for table in ("audit_log", "blob_owners", "web_sessions", "api_tokens", "memberships", "users", "projects"):
        op.drop_table(table)


def _create_people() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "memberships",
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name=op.f("ck_memberships_role")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_memberships_project_id_projects")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_memberships_user_id_users")),
        sa.PrimaryKeyConstraint("project_id", "user_id", name=op.f("pk_memberships")),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("last_four", sa.String(4), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=True),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name=op.f("ck_api_tokens_role")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_api_tokens_project_id_projects")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_api_tokens_token_sha256")),
    )
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"])
    op.create_table(
        "web_sessions",
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_web_sessions_user_id_users")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_web_sessions")),
    )
    op.create_index(op.f("ix_web_sessions_user_id"), "web_sessions", ["user_id"])


def _create_blob_owners() -> None:
    op.create_table(
        "blob_owners",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"], ["blobs.sha256"], name=op.f("fk_blob_owners_sha256_blobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_blob_owners_project_id_projects")),
        sa.PrimaryKeyConstraint("sha256", "project_id", name=op.f("pk_blob_owners")),
    )
    op.execute("INSERT INTO blob_owners (sha256, project_id) SELECT sha256, 'prj_default' FROM blobs")


def _create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("object_kind", sa.String(), nullable=True),
        sa.Column("object_id", sa.String(), nullable=True),
        sa.Column("project_id", sa.String(), nullable=True),
        sa.Column("before_sha256", sa.String(64), nullable=True),
        sa.Column("after_sha256", sa.String(64), nullable=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("previous_sha256", sa.String(64), nullable=False),
        sa.Column("entry_sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        sa.UniqueConstraint("entry_sha256", name=op.f("uq_audit_log_entry_sha256")),
    )
    op.create_index("ix_audit_log_object", "audit_log", ["object_kind", "object_id"])
