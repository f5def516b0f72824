"""Drawn signs that stand beside words, never alone; our own lines on a grid of 24."""

from collections.abc import Mapping
from types import MappingProxyType

from markupsafe import Markup

PATHS: Mapping[str, str] = MappingProxyType(
    {
        "check": "M4 12.5 9.5 18 20 6.5",
        "cross": "M6 6l12 12M18 6 6 18",
        "warn": "M12 4 2.5 20h19zM12 10v4.5M12 17.5v.1",
        "clock": "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 7v5l3.5 2",
        "pause": "M8 5v14M16 5v14",
        "play": "M7 4.5 19 12 7 19.5z",
        "spin": "M20 12a8 8 0 1 1-3-6.2M20 3v4h-4",
        "drain": "M12 4v12M6.5 11 12 16.5 17.5 11M5 20h14",
        "dot": "M12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5",
        "off": "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M5.6 5.6l12.8 12.8",
        "bolt": "M13 2.5 5 14h6l-1 7.5L18 10h-6z",
        "heat": "M10 4.5a2 2 0 1 1 4 0V13a4.5 4.5 0 1 1-4 0zM12 10v7",
        "slow": "M3 17a9 9 0 1 1 18 0M12 17l-4-5",
        "chip": "M7 7h10v10H7zM9.5 7V3.5M14.5 7V3.5M9.5 20.5V17M14.5 20.5V17M7 9.5H3.5M7 14.5H3.5M20.5 9.5H17M20.5 14.5H17",
        "copy": "M9 9h11v11H9zM15 9V4H4v11h5",
        "moon": "M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5",
        "plus": "M12 5v14M5 12h14",
        "down": "M12 4v11M7 10.5l5 5 5-5M5 20h14",
        "list": "M8 6h12M8 12h12M8 18h12M4 6v.1M4 12v.1M4 18v.1",
        "chart": "M4 4v16h16M8 15c3 0 3-7 6-7s3 3 5 3",
        "wave": "M3 12h4l2.5-7 5 14 2.5-7h4",
        "box": "M4 7.5 12 3l8 4.5v9L12 21l-8-4.5zM4 7.5l8 4.5 8-4.5M12 12v9",
        "people": "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M2.5 20a6.5 6.5 0 0 1 13 0M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.2a6.5 6.5 0 0 1 3.5 5.8",
    }
)


def icon(name: str) -> Markup:
    """The sign as inline SVG, hidden from screen readers: the word beside it says the same."""
    path = Markup.escape(PATHS[name])
    return Markup('<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="{}"/></svg>').format(path)
