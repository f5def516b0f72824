"""Comparisons as runs of a device, and several settings for one variant.

Going down removes what the older schema cannot hold: comparisons with their runs, and all but the first settings of a
sweep.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KINDS = "kind IN ('measure', 'ab', 'aa')"
ONE_OWNER = (
    "(job_id IS NULL) = (variant_id IS NULL) AND (job_id IS NULL) = (comparison_id IS NOT NULL) "
    "AND (job_id IS NULL) = (kind <> 'measure')"
)
LEASED = sa.text("state = 'leased'")


def upgrade() -> None:
    """Add comparisons, and let a run belong to one of them."""
    _create_comparisons()
    _drop_leased_index()
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("kind", sa.String(), nullable=False, server_default="measure"))
        runs.add_column(sa.Column("comparison_id", sa.String(), nullable=True))
        runs.add_column(sa.Column("settings_ordinal", sa.Integer(), nullable=False, server_default="0"))
        runs.alter_column("job_id", existing_type=sa.String(), nullable=True)
        runs.alter_column("variant_id", existing_type=sa.String(), nullable=True)
        runs.create_foreign_key(op.f("fk_runs_comparison_id_comparisons"), "comparisons", ["comparison_id"], ["id"])
        runs.drop_constraint(op.f("uq_runs_variant_id"), type_="unique")
        runs.create_unique_constraint(op.f("uq_runs_variant_id"), ["variant_id", "device_id", "settings_ordinal"])
        runs.create_unique_constraint(op.f("uq_runs_comparison_id"), ["comparison_id", "device_id"])
        runs.create_check_constraint(op.f("ck_runs_kind"), KINDS)
        runs.create_check_constraint(op.f("ck_runs_has_one_owner"), ONE_OWNER)
    _create_leased_index()
    with op.batch_alter_table("results") as results:
        results.alter_column("job_id", existing_type=sa.String(), nullable=True)
    _create_comparison_results()


def downgrade() -> None:
    """Remove comparisons and the further settings of sweeps."""
    op.drop_table("comparison_results")
    op.execute(
        "DELETE FROM results WHERE run_id IN "
        "(SELECT id FROM runs WHERE comparison_id IS NOT NULL OR settings_ordinal > 0)"
    )
    op.execute("DELETE FROM runs WHERE comparison_id IS NOT NULL OR settings_ordinal > 0")
    with op.batch_alter_table("results") as results:
        results.alter_column("job_id", existing_type=sa.String(), nullable=False)
    _drop_leased_index()
    with op.batch_alter_table("runs") as runs:
        runs.drop_constraint(op.f("ck_runs_has_one_owner"), type_="check")
        runs.drop_constraint(op.f("ck_runs_kind"), type_="check")
        runs.drop_constraint(op.f("uq_runs_comparison_id"), type_="unique")
        runs.drop_constraint(op.f("uq_runs_variant_id"), type_="unique")
        runs.drop_constraint(op.f("fk_runs_comparison_id_comparisons"), type_="foreignkey")
        runs.create_unique_constraint(op.f("uq_runs_variant_id"), ["variant_id", "device_id"])
        runs.alter_column("variant_id", existing_type=sa.String(), nullable=False)
        runs.alter_column("job_id", existing_type=sa.String(), nullable=False)
        runs.drop_column("settings_ordinal")
        runs.drop_column("comparison_id")
        runs.drop_column("kind")
    _create_leased_index()
    op.drop_table("comparisons")


def _drop_leased_index() -> None:
    # made again by hand: reflection on SQLite loses a partial index's condition in some versions
    op.drop_index("uq_runs_leased_device", table_name="runs")


def _create_leased_index() -> None:
    op.create_index(
        "uq_runs_leased_device", "runs", ["device_id"], unique=True, sqlite_where=LEASED, postgresql_where=LEASED
    )


def _create_comparisons() -> None:
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("a_sha256", sa.String(), nullable=False),
        sa.Column("b_sha256", sa.String(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('ab', 'aa')", name=op.f("ck_comparisons_kind")),
        sa.ForeignKeyConstraint(["a_sha256"], ["blobs.sha256"], name=op.f("fk_comparisons_a_sha256_blobs")),
        sa.ForeignKeyConstraint(["b_sha256"], ["blobs.sha256"], name=op.f("fk_comparisons_b_sha256_blobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparisons")),
    )


def _create_comparison_results() -> None:
    op.create_table(
        "comparison_results",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("comparison_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ratio", sa.Double(), nullable=True),
        sa.Column("ratio_low", sa.Double(), nullable=True),
        sa.Column("ratio_high", sa.Double(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("n_pairs", sa.Integer(), nullable=True),
        sa.Column("n_comparisons", sa.Integer(), nullable=True),
        sa.Column("n_false_positives", sa.Integer(), nullable=True),
        sa.Column("share_low", sa.Double(), nullable=True),
        sa.Column("share_high", sa.Double(), nullable=True),
        sa.CheckConstraint("kind IN ('ab', 'aa')", name=op.f("ck_comparison_results_kind")),
        sa.CheckConstraint(
            "outcome IN ('faster', 'slower', 'no_difference')", name=op.f("ck_comparison_results_outcome")
        ),
        sa.CheckConstraint(
            "(kind = 'ab') = (ratio IS NOT NULL) AND (kind = 'ab') = (outcome IS NOT NULL)",
            name=op.f("ck_comparison_results_ab_has"),
        ),
        sa.CheckConstraint(
            "(kind = 'aa') = (n_false_positives IS NOT NULL)", name=op.f("ck_comparison_results_aa_has")
        ),
        sa.CheckConstraint("ratio IS NULL OR ratio_low > 0", name=op.f("ck_comparison_results_ratio_is_positive")),
        sa.CheckConstraint(
            "n_false_positives BETWEEN 0 AND n_comparisons",
            name=op.f("ck_comparison_results_no_more_false_than_made"),
        ),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparisons.id"], name=op.f("fk_comparison_results_comparison_id_comparisons")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["results.run_id"], name=op.f("fk_comparison_results_run_id_results")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_comparison_results")),
    )
    with op.batch_alter_table("comparison_results", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_comparison_results_comparison_id"), ["comparison_id"], unique=False)
