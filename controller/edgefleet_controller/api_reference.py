"""The reference of the REST API in Markdown, for docs/api.md, from the OpenAPI document of the app itself, its pages and errors.

``python -m edgefleet_controller.api_reference docs/api.md`` writes it anew; a test compares the two.
"""

import importlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from edgefleet_controller.app import create_app
from edgefleet_controller.auth.access import required_role
from edgefleet_controller.errors import ControllerError
from edgefleet_controller.settings import Settings
from edgefleet_controller.web.pages import ROUTERS as PAGES

MARK = "<!-- what follows is written by: python -m edgefleet_controller.api_reference docs/api.md -->\n"
METHODS = ("get", "head", "post", "put", "patch", "delete")
Document = Mapping[str, Any]


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of an app that serves nothing."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data_dir=Path(folder)))
        document = app.openapi()
        app.state.services.database.dispose()
        return document


def reference(document: Document) -> str:
    """Every route by its tag with role, parameters, body and answers; pages; codes of errors; the documents of all these."""
    return "\n".join([*_routes(document), *_pages(), *_codes(), *_documents(document)])


def _routes(document: Document) -> Iterator[str]:
    by_tag: dict[str, list[tuple[str, str, Document]]] = {}
    for path, operations in document["paths"].items():
        for method in METHODS:
            if (operation := operations.get(method)) is not None:
                tag = (operation.get("tags") or ["health"])[0]
                by_tag.setdefault(tag, []).append((method.upper(), path, operation))
    for tag, routes in sorted(by_tag.items()):
        yield f"## {tag}\n"
        for method, path, operation in sorted(routes, key=lambda route: (route[1], METHODS.index(route[0].lower()))):
            yield from _route(method, path, operation)


def _route(method: str, path: str, operation: Document) -> Iterator[str]:
    yield f"### {method} {path}\n"
    role = required_role(method, path)
    yield f"{_one_line(operation.get('description') or operation.get('summary'))} Role: {role}.\n"
    rows = [_parameter(one) for one in operation.get("parameters", ()) if one["in"] != "cookie"]
    if rows:
        yield "| parameter | in | type | meaning |\n|---|---|---|---|"
        yield from rows
        yield ""
    for media_type, content in (operation.get("requestBody") or {}).get("content", {}).items():
        schema = content.get("schema", {})
        said = "the file's bytes" if schema.get("format") == "binary" or not schema else _type(schema)
        yield f"Body: {said} (`{media_type}`).\n"
    answers = [
        f"{status} {_answer(answer)}" for status, answer in operation["responses"].items() if status.startswith("2")
    ]
    yield f"Answers: {'; '.join(answers)}; errors are [Problem](#problem).\n"


def _parameter(parameter: Document) -> str:
    schema = parameter.get("schema", {})
    needed = ", required" if parameter.get("required") else ""
    meaning = _one_line(parameter.get("description") or schema.get("description"))
    if not meaning and parameter["in"] == "path":
        meaning = f"identifier of the {parameter['name'].removesuffix('_id')}"
    return f"| `{parameter['name']}` | {parameter['in']}{needed} | {_type(schema)} | {meaning}{_default(schema)} |"


def _answer(answer: Document) -> str:
    schemas = [content.get("schema", {}) for content in answer.get("content", {}).values()]
    named = [_type(schema) for schema in schemas if schema]
    said = str(answer.get("description", "")).replace("Successful Response", "without a body")
    return " or ".join(dict.fromkeys(named)) or _one_line(said)


def _pages() -> Iterator[str]:
    yield "## Pages\n"
    yield "What serves people in a browser ([pages.md](pages.md)). These addresses may change; programs use the routes above.\n"
    yield "| route | does | role |\n|---|---|---|"
    for router in PAGES:
        for route in router.routes:
            if isinstance(route, APIRoute):
                for method in sorted(route.methods or ()):
                    said = _one_line((route.endpoint.__doc__ or "").strip().split("\n\n")[0])
                    yield f"| `{method} {route.path}` | {said} | {required_role(method, route.path)} |"
    yield ""


def _codes() -> Iterator[str]:
    yield "## Codes of errors\n"
    yield "What the `code` of a [Problem](#problem) may be. Codes of a run that was not measured: [reasons.md](reasons.md).\n"
    yield "| code | status | fault | retry | meaning |\n|---|---|---|---|---|"
    for kind in sorted(_error_kinds(), key=lambda one: (one.status, one.code)):
        yield f"| `{kind.code}` | {kind.status} | {kind.fault} | {'yes' if kind.retry else 'no'} | {_one_line(kind.__doc__)} |"
    yield ""


def _error_kinds() -> set[type[ControllerError]]:
    """The errors of all modules called ``errors``, whatever was imported before."""
    root = Path(__file__).parent
    for path in root.rglob("errors.py"):
        importlib.import_module(".".join((__package__, *path.relative_to(root).with_suffix("").parts)))
    return {kind for kind in _descendants(ControllerError) if kind.__module__.endswith(".errors")}


def _descendants(kind: type[ControllerError]) -> Iterator[type[ControllerError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _descendants(child)


def _documents(document: Document) -> Iterator[str]:
    yield "## Documents\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f"### {name}\n"
        said = _one_line(schema.get("description"))
        yield f"{said or _type(schema)}\n"
        fields = schema.get("properties", {})
        if fields:
            required = schema.get("required", ())
            yield "| field | type | meaning |\n|---|---|---|"
            for field, one in fields.items():
                name_cell = f"`{field}`" if field in required else f"`{field}` (optional)"
                yield f"| {name_cell} | {_type(one)} | {_meaning(one, document)}{_default(one)} |"
            yield ""


def _meaning(schema: Document, document: Document) -> str:
    """A field's own description, else that of the document that it holds."""
    said = schema.get("description")
    choices = [schema, *schema.get("anyOf", ())]
    for name in (str(one["$ref"]).rsplit("/", 1)[-1] for one in choices if "$ref" in one):
        said = said or document["components"]["schemas"][name].get("description")
    return _one_line(said)


def _type(schema: Document) -> str:
    """A schema in words; named documents as links."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return f"[{name}](#{_anchor(name)})"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_type(one) for one in choices))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{value}`" for value in values)
    if schema.get("type") == "array":
        inner = schema.get("prefixItems")
        held = ", ".join(_type(one) for one in inner) if inner else _type(schema.get("items", {}))
        return f"list of {held}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return f"{schema.get('type', 'any')}{_bounds(schema)}"


def _bounds(schema: Document) -> str:
    """Limits of a number or text, in brackets."""
    words = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    said = [f"{sign} {_number(schema[key])}" for key, sign in words.items() if key in schema]
    if "maxLength" in schema:
        said.append(f"at most {schema['maxLength']} characters")
    if "format" in schema:
        said.append(str(schema["format"]))
    return f" ({', '.join(said)})" if said else ""


def _default(schema: Document) -> str:
    value = schema.get("default")
    if value in (None, "", [], {}):
        return ""
    return f"; default `{value if isinstance(value, bool | str | list | dict) else _number(value)}`"


def _number(value: float) -> str:
    """Without the point that JSON gives to whole numbers."""
    return str(int(value)) if float(value).is_integer() else str(value)


def _anchor(name: str) -> str:
    """The anchor that GitHub and the site give a heading of one word."""
    return "".join(letter for letter in name.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")


def _one_line(text: str | None) -> str:
    """Text for a cell; angle brackets (outside of code) and pipes would be taken for markup."""
    parts = (text or "").replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return " ".join("`".join(parts).split())


def main(page: Path) -> None:
    """Put the reference into the page, after the mark."""
    head, mark, _ = page.read_text().partition(MARK)
    page.write_text(head + (mark or MARK) + "\n" + reference(openapi_document()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
