"""Reads what a form sends: names and values, each stripped of blanks."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, Request


class Form:
    """The fields of a form; one that was left empty is as one that was not sent."""

    def __init__(self, body: bytes) -> None:
        self._fields = parse_qs(body.decode(errors="replace"), max_num_fields=2000)

    def text(self, name: str) -> str:
        """The field's value; empty without one."""
        return self._fields.get(name, [""])[0].strip()

    def optional(self, name: str) -> str | None:
        """The field's value; None without one."""
        return self.text(name) or None

    def texts(self, name: str) -> list[str]:
        """All values of a field that may be chosen several times."""
        return [value.strip() for value in self._fields.get(name, []) if value.strip()]

    def is_set(self, name: str) -> bool:
        """Whether a box was ticked."""
        return name in self._fields

    @property
    def names(self) -> list[str]:
        """Names of the fields that were sent."""
        return list(self._fields)


async def _read(request: Request) -> Form:
    return Form(await request.body())


FormOf = Annotated[Form, Depends(_read)]
"""Bodies are limited by the app (``limits``)."""
