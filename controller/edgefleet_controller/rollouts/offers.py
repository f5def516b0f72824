"""Which boards have an update waiting, as this process remembers it: a claim asks this and no store."""

from collections.abc import Collection

from edgefleet_controller.dispatch.roster import Card

STATES = ("active", "quarantined")
"""Boards in these states are offered an update; one that a person holds, or that is drained, is left alone."""


class Offers:
    """Boards that open rollouts are about; another process may know more, until its next look."""

    def __init__(self) -> None:
        self._device_ids: frozenset[str] = frozenset()

    def is_due(self, card: Card | None) -> bool:
        """Whether the board is to be told of an update."""
        return card is not None and card.id in self._device_ids and card.state in STATES

    def replace(self, device_ids: Collection[str]) -> frozenset[str]:
        """Remember these and no others; those that are new."""
        before, self._device_ids = self._device_ids, frozenset(device_ids)
        return self._device_ids - before

    def end(self, device_id: str) -> None:
        """The board has answered."""
        self._device_ids -= {device_id}
