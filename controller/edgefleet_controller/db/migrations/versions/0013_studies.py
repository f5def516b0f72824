"""Studies with their trials and logs; jobs know the study they belong to."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STUDY_STATES = "state IN ('queued', 'running', 'waiting', 'checking', 'cancelling', 'cancelled', 'completed', 'failed')"
TRIAL_STATES = "state IN ('running', 'completed', 'failed', 'cancelled')"


def upgrade() -> None:
    """Add the tables, and the jobs' column."""
    op.add_column("jobs", sa.Column("study_id", sa.String(), nullable=True))
    op.create_index("ix_jobs_study_id", "jobs", ["study_id"])
    _studies()
    _trials()
    op.create_table(
        "study_events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("study_id", sa.String(), nullable=False),
        sa.Column("trial", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_study_events_study_id_studies"),
        sa.PrimaryKeyConstraint("id", name="pk_study_events"),
    )
    op.create_index("ix_study_events_study_id", "study_events", ["study_id"])


def _studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.JSON(), nullable=True) for name in ("analysis", "checks", "report", "error")),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False, server_default="prj_default"),
        sa.Column("created_by", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *(
            sa.Column(name, sa.DateTime(timezone=True), nullable=True)
            for name in ("started_at", "finished_at", "deadline_at", "look_at")
        ),
        sa.Column("turn", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("turn_taken", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.CheckConstraint(STUDY_STATES, name=op.f("ck_studies_state")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_studies_model_id_models"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_studies_project_id_projects"),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
    )
    op.create_index("ix_studies_project_id", "studies", ["project_id"])
    op.create_index("ix_studies_state", "studies", ["state"])


def _trials() -> None:
    op.create_table(
        "trials",
        sa.Column("study_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("proposal", sa.JSON(), nullable=False),
        sa.Column("recipe", sa.JSON(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("outcome", sa.JSON(), nullable=True),
        sa.Column("cause", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(TRIAL_STATES, name=op.f("ck_trials_state")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_trials_study_id_studies"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_trials_job_id_jobs"),
        sa.PrimaryKeyConstraint("study_id", "number", name="pk_trials"),
    )
    op.create_index("ix_trials_job_id", "trials", ["job_id"])


def downgrade() -> None:
    """Drop them; the trials' jobs and results stay."""
    for table in ("study_events", "trials", "studies"):
        op.drop_table(table)
    op.drop_index("ix_jobs_study_id", table_name="jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("study_id")
