"""Pages of a list: newest first, continued by an opaque cursor that stays right while things are added."""

import base64
import binascii
import re
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from edgefleet_controller.errors import InvalidCursor

MAX_LIMIT = 200
_KEY = re.compile("[A-Za-z0-9_/]{1,100}")
Item = TypeVar("Item")
Row = TypeVar("Row")


class Page(BaseModel, Generic[Item]):
    """A page of a list."""

    items: list[Item] = Field(description="newest first")
    next_cursor: str | None = Field(description="pass as `cursor` for the next page; null on the last")


class PageRequest(BaseModel):
    """Which page is wanted; a limit that is too large is reduced, not refused."""

    limit: int = Field(default=50, ge=1, description=f"items per page, at most {MAX_LIMIT}")
    cursor: str | None = Field(default=None, max_length=200, description="`next_cursor` of the page before")

    @property
    def size(self) -> int:
        """The limit within bounds."""
        return min(self.limit, MAX_LIMIT)

    @property
    def after(self) -> str | None:
        """The identifier of the last item of the page before."""
        if self.cursor is None:
            return None
        try:
            key = base64.b64decode(self.cursor.encode(), altchars=b"-_", validate=True).decode()
        except (binascii.Error, UnicodeError) as err:
            raise InvalidCursor from err
        if _KEY.fullmatch(key) is None:
            raise InvalidCursor
        return key


PageQuery = Annotated[PageRequest, Query()]


def fetch_page(
    session: Session, query: Select[Row], key: InstrumentedAttribute[str], page: PageRequest
) -> tuple[list[Row], str | None]:
    """The rows of one page in descending order of ``key``, and the cursor of the next."""
    if page.after is not None:
        query = query.where(key < page.after)
    rows = list(session.scalars(query.order_by(key.desc()).limit(page.size + 1)))
    if len(rows) <= page.size:
        return rows, None
    rows.pop()
    last: Any = getattr(rows[-1], key.key)
    return rows, encode_cursor(str(last))


def encode_cursor(key: str) -> str:
    """The cursor of the page after the item with this key."""
    return base64.urlsafe_b64encode(key.encode()).decode()
