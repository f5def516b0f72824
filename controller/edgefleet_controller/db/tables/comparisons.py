"""Comparisons of artifacts on boards, and what came of them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, JsonObject, creator_column, one_of, project_column

COMPARISON_KINDS = ("ab", "aa")
OUTCOMES = ("faster", "slower", "no_difference")


class Comparison(Base):
    """What a person asked for: artifact A against B, or against itself, on several devices; one run for each."""

    __tablename__ = "comparisons"
    __table_args__ = (one_of("kind", *COMPARISON_KINDS),)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    a_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    b_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    request: Mapped[JsonObject]
    """what was asked for, with the artifacts and devices it was resolved to"""
    project_id: Mapped[str] = project_column()
    created_by: Mapped[str | None] = creator_column()
    created_at: Mapped[datetime]


class ComparisonResult(Base):
    """The figures of an A/B or A/A run's result."""

    __tablename__ = "comparison_results"
    __table_args__ = (
        one_of("kind", *COMPARISON_KINDS),
        one_of("outcome", *OUTCOMES),
        CheckConstraint("(kind = 'ab') = (ratio IS NOT NULL) AND (kind = 'ab') = (outcome IS NOT NULL)", name="ab_has"),
        CheckConstraint("(kind = 'aa') = (n_false_positives IS NOT NULL)", name="aa_has"),
        CheckConstraint("ratio IS NULL OR ratio_low > 0", name="ratio_is_positive"),
        CheckConstraint("n_false_positives BETWEEN 0 AND n_comparisons", name="no_more_false_than_made"),
    )
    run_id: Mapped[str] = mapped_column(ForeignKey("results.run_id"), primary_key=True)
    comparison_id: Mapped[str] = mapped_column(ForeignKey("comparisons.id"), index=True)
    kind: Mapped[str]
    ratio: Mapped[float | None]
    """latency of B over A"""
    ratio_low: Mapped[float | None]
    ratio_high: Mapped[float | None]
    confidence: Mapped[float | None]
    outcome: Mapped[str | None]
    n_pairs: Mapped[int | None]
    n_comparisons: Mapped[int | None]
    n_false_positives: Mapped[int | None]
    share_low: Mapped[float | None]
    """95 % Wilson interval of n_false_positives / n_comparisons"""
    share_high: Mapped[float | None]
