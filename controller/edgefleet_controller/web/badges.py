"""How states are shown: a word, a sign and a tone together, so that none of them is needed alone."""

from collections.abc import Mapping
from types import MappingProxyType

from markupsafe import Markup

from edgefleet_controller.web.icons import icon

_LOOKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # devices
        "active": ("good", "check"),
        "online": ("good", "dot"),
        "offline": ("warn", "off"),
        "never": ("", "off"),
        "registered": ("", "clock"),
        "pending": ("warn", "clock"),
        "held": ("warn", "pause"),
        "draining": ("warn", "drain"),
        "quarantined": ("bad", "warn"),
        "revoked": ("bad", "cross"),
        # jobs, variants and runs
        "waiting": ("", "clock"),
        "queued": ("", "clock"),
        "running": ("live", "spin"),
        "leased": ("live", "spin"),
        "compressing": ("live", "spin"),
        "compiling": ("live", "spin"),
        "dispatched": ("live", "spin"),
        "checking": ("live", "spin"),
        "cancelling": ("warn", "spin"),
        "cancelled": ("warn", "cross"),
        "completed": ("good", "check"),
        "failed": ("bad", "cross"),
        # verdicts
        "valid": ("good", "check"),
        "suspect": ("warn", "warn"),
        "invalid": ("bad", "cross"),
        # kinds and provenances
        "measured": ("good", "check"),
        "physical": ("", "chip"),
        "simulated": ("hatched", "chip"),
        "emulated": ("hatched", "chip"),
        "replayed": ("hatched", "chip"),
        "replay": ("hatched", "chip"),
        "imported": ("hatched", "down"),
        # comparisons
        "faster": ("good", "check"),
        "slower": ("bad", "warn"),
        "no_difference": ("", "dot"),
    }
)


def badge(state: str, text: str | None = None) -> Markup:
    """The state as a badge; one that is not known is shown as it is."""
    tone, sign = _LOOKS.get(state, ("", "dot"))
    words = text if text is not None else state.replace("_", " ")
    return Markup('<span class="badge {}">{}{}</span>').format(tone, icon(sign), words)


def flag(tone: str, sign: str, text: str) -> Markup:
    """A badge that is no state, such as a throttle flag."""
    return Markup('<span class="badge {}">{}{}</span>').format(tone, icon(sign), text)
