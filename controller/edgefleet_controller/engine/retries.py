"""Which failures of a step are worth another attempt; pure.

A retry is a value: the step says what became of it, and its next attempt is queued with a delay. Nothing waits inside a
worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class RetryRule:
    """How often a step is begun at most, and how long it waits before the second attempt; doubled for each further one."""

    max_attempts: int
    delay_s: float
    reason: str


@dataclass(frozen=True)
class RetryDecision:
    """Whether a failed step is begun again; ``reason`` says why or why not, for the job's log."""

    retry: bool
    delay_s: float
    reason: str


TRANSIENT: Mapping[str, RetryRule] = MappingProxyType(
    {
        "step_crashed": RetryRule(
            2, 5.0, "the kernel or another process may have ended it, and memory may be free now"
        ),
        "disk_full": RetryRule(4, 30.0, "space may be freed in the meantime"),
        "store_unavailable": RetryRule(6, 2.0, "the store may answer again"),
        "blob_store_unavailable": RetryRule(6, 2.0, "the file store may answer again"),
    }
)
"""Codes of failures that may pass by themselves. Any other failure of the same step would come again."""

MAX_DELAY_S = 300.0


def decide_retry(code: str, attempt: int) -> RetryDecision:
    """What to do after attempt number ``attempt`` (from 1) failed with this code."""
    if attempt < 1:
        raise ValueError(f"attempts are counted from 1, not {attempt}")
    rule = TRANSIENT.get(code)
    if rule is None:
        return RetryDecision(False, 0.0, f"{code} would come again")
    if attempt >= rule.max_attempts:
        return RetryDecision(False, 0.0, f"{code} came {attempt} times")
    return RetryDecision(True, min(rule.delay_s * 2 ** (attempt - 1), MAX_DELAY_S), rule.reason)
