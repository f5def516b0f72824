"""How long a lease runs, how often a run is leased, and when a device is taken out of service."""

from dataclasses import dataclass

from edgefleet_controller.settings import Settings


@dataclass(frozen=True)
class LeaseRules:
    """Durations in seconds."""

    lease_s: float = 60.0
    margin_s: float = 30.0
    max_attempts: int = 3
    quarantine_after: int = 3

    def length_s(self, silent_for_s: float = 0.0) -> float:
        """Length of a lease over a silent window that begins now."""
        return max(self.lease_s, silent_for_s + self.margin_s)


def lease_rules(settings: Settings) -> LeaseRules:
    """The rules that are set."""
    return LeaseRules(settings.lease_s, settings.lease_margin_s, settings.max_attempts, settings.quarantine_after)
