"""When a sweep has failed so often that going on would only use up boards; pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Failures:
    """Failed runs of a job among those that it asked for."""

    n_failed: int
    n_planned: int

    def __post_init__(self) -> None:
        """Refuse counts that no job has."""
        if self.n_failed < 0 or self.n_planned < 1:
            raise ValueError(f"a job has at least one run and no negative failures: {self}")


def exceeded(failures: Failures, *, max_failures: int | None, max_failure_share: float | None) -> str | None:
    """Why the job is to be stopped, for a person; None where it may go on.

    max_failures: runs that may fail. max_failure_share: share of all planned runs that may, 0 to 1.
    """
    n_failed, n_planned = failures.n_failed, failures.n_planned
    if max_failures is not None and n_failed > max_failures:
        return f"{n_failed} of {n_planned} runs failed, and at most {max_failures} may; the job was stopped."
    if max_failure_share is not None and n_failed > max_failure_share * n_planned:
        return f"{n_failed} of {n_planned} runs failed, and at most {100 * max_failure_share:g} % may; the job was stopped."
    return None
