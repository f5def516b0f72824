"""Maintenance windows of a device: times, in UTC by the controller's clock, in which it is given no run; pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Sequence[Day] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEK = timedelta(days=7)


class OneOff(BaseModel):
    """A window that happens once."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["once"] = Field(default="once", description="once")
    start: AwareDatetime = Field(description="begin, UTC")
    end: AwareDatetime = Field(description="end, UTC")
    reason: str | None = Field(default=None, max_length=200, description="why")

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "OneOff":
        if self.end <= self.start:
            raise ValueError("a window ends after it starts")
        return self

    def end_at(self, now: datetime) -> datetime | None:
        """When it ends, if ``now`` lies in it."""
        return self.end.astimezone(UTC) if self.start <= now < self.end else None


class Weekly(BaseModel):
    """A window that comes back on days of the week."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["weekly"] = Field(default="weekly", description="every week")
    days: tuple[Day, ...] = Field(
        default=tuple(DAYS), min_length=1, max_length=7, description="days on which it begins"
    )
    at: str = Field(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", description="time at which it begins, HH:MM, UTC")
    duration_s: float = Field(gt=0, le=7 * 86400, description="length in seconds; may last beyond midnight")
    reason: str | None = Field(default=None, max_length=200, description="why")

    def end_at(self, now: datetime) -> datetime | None:
        """When it ends, if ``now`` lies in it; the latest end where it overlaps itself."""
        hour, minute = map(int, self.at.split(":"))
        today = now.astimezone(UTC).replace(hour=hour, minute=minute, second=0, microsecond=0)
        ends = [
            start + timedelta(seconds=self.duration_s)
            for start in (today - timedelta(days=ago) for ago in range(8))
            if DAYS[start.weekday()] in self.days and start <= now
        ]
        return max((end for end in ends if now < end), default=None)


Window = Annotated[OneOff | Weekly, Field(discriminator="kind")]
_WINDOWS: TypeAdapter[list[Window]] = TypeAdapter(list[Window])


def parse_windows(stored: Sequence[Any] | None) -> tuple[OneOff | Weekly, ...]:
    """The windows that a device's row holds."""
    return tuple(_WINDOWS.validate_python(list(stored))) if stored else ()


def closed_until(windows: Sequence[OneOff | Weekly], now: datetime) -> datetime | None:
    """The end of the windows in which ``now`` lies; None outside of all."""
    return max((end for end in (window.end_at(now) for window in windows) if end is not None), default=None)
