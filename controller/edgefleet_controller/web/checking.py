"""Makes documents of what a form sent, and says on a page what was wrong with it."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edgefleet_controller.errors import InvalidRequest

Document = TypeVar("Document", bound=BaseModel)


def checked(schema: type[Document], /, **fields: Any) -> Document:
    """The document with these fields; InvalidRequest that names each wrong one. Fields that are None are left out."""
    try:
        return schema.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as err:
        raise InvalidRequest(describe(err)) from err


def describe(error: ValidationError) -> str:
    """What is wrong with each field, in one sentence for each."""
    said = [f"{'.'.join(map(str, item['loc'])) or 'the form'}: {item['msg']}" for item in error.errors()]
    return f"Some of it cannot be taken. {'; '.join(said)}."
