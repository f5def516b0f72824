"""What becomes of a run that a device holds while its agent asks for another.

An agent names its start (a random word) and numbers its claims; a lease remembers both as ``start:claim``. So a claim
that is sent again because its answer was lost gets the same order again; an agent that was killed and came back gives its
run up at once instead of by the end of the lease; and a claim that arrives late changes nothing.
"""

from enum import Enum


class Fate(Enum):
    """Of a held run, when its device claims."""

    KEEP = "keep"
    REPEAT = "repeat"
    VOID = "void"


def holder(boot: str | None, claim: int | None) -> str | None:
    """What a lease remembers; None for an agent that names neither."""
    return f"{boot}:{claim}" if boot is not None and claim is not None else None


def fate_of(leased_to: str | None, boot: str | None, claim: int | None) -> Fate:
    """What a claim of this start and number means for the run that the device holds; pure."""
    if boot is None or claim is None:
        return Fate.KEEP
    if leased_to is None:
        return Fate.VOID
    held_boot, _, held_claim = leased_to.rpartition(":")
    if held_boot != boot:
        return Fate.VOID
    if int(held_claim) == claim:
        return Fate.REPEAT
    return Fate.VOID if claim > int(held_claim) else Fate.KEEP
