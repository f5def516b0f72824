"""How figures are written on pages; an absent one is a dash."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

ABSENT = "\N{EN DASH}"
_SPANS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_SIZES = ("B", "kB", "MB", "GB")


def size(size_bytes: float | None) -> str:
    """Bytes with three significant digits and a decimal unit."""
    if size_bytes is None:
        return ABSENT
    for unit in _SIZES[:-1]:
        if size_bytes < 1000:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} {_SIZES[-1]}"


def milliseconds(value_ms: float | None) -> str:
    """Milliseconds with four significant digits."""
    return ABSENT if value_ms is None else f"{value_ms:.4g}"


def per_second(rate: float | None) -> str:
    """A rate with four significant digits."""
    return ABSENT if rate is None else f"{rate:.4g}"


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage."""
    return ABSENT if share is None else f"{100 * share:.2f} %"


def times(ratio: float | None) -> str:
    """A ratio."""
    return ABSENT if ratio is None else f"{ratio:.2f}\N{MULTIPLICATION SIGN}"


def instant(value: datetime | None) -> str:
    """An instant in UTC to the second."""
    return ABSENT if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(value: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in the largest unit that fits; an instant to come is said to be in so long."""
    if value is None:
        return ABSENT
    seconds = ((now or datetime.now(UTC)) - value).total_seconds()
    length = abs(seconds)
    if length < 1:
        return "now"
    unit, name = next(((unit, name) for unit, name in _SPANS if length >= unit), _SPANS[-1])
    text = f"{length / unit:.0f} {name}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def count(value: int | None) -> str:
    """A count with thousands apart."""
    return ABSENT if value is None else f"{value:,}"


def celsius(value: float | None) -> str:
    """A temperature to a tenth of a degree."""
    return ABSENT if value is None else f"{value:.1f} \N{DEGREE SIGN}C"


def seconds(value_s: float | None) -> str:
    """A length of time in the unit that reads best."""
    if value_s is None:
        return ABSENT
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if value_s >= 2 * unit:
            return f"{value_s / unit:.3g} {name}"
    return f"{value_s:.3g} s"


def cell(value: object) -> str:
    """A value of a table whatever it is: figures with four significant digits, nothing as a dash."""
    if value is None:
        return ABSENT
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def plain(value: object) -> str:
    """A value of a document for a person: lists and objects without brackets."""
    if value is None or value in ({}, []):
        return ABSENT
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return cell(value)


FILTERS: Mapping[str, Callable[..., str]] = MappingProxyType(
    {
        "size": size,
        "milliseconds": milliseconds,
        "per_second": per_second,
        "percent": percent,
        "times": times,
        "instant": instant,
        "ago": ago,
        "count": count,
        "cell": cell,
        "plain": plain,
        "celsius": celsius,
        "seconds": seconds,
    }
)
