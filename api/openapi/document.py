"""Generates the document: an operation for each route, with all its responses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata, resources
from typing import Any, Final

import msgspec

from perdure.api.dialects.process.schemas import Resume
from perdure.api.dialects.resource.access.schemas import NewKey
from perdure.api.http.dialect import Dialect, Dialects
from perdure.api.http.headers import REQUEST_ID
from perdure.api.http.json_body import JSON, YAML
from perdure.api.http.problems import RETRY_AFTER_S, STATUS
from perdure.api.http.routing import NOT_MODIFIED, Route
from perdure.api.openapi import descriptions as words
from perdure.api.openapi import snippets
from perdure.api.openapi.schemas import Schema, coded, named, parameters_of, schemas_of
from perdure.api.settings import SOURCES
from perdure.api.validation import VERSION_MAX
from perdure.engine.services.access import SCOPES

OPENAPI: Final = "3.1.1"
HEADERS_AT: Final = "#/components/headers/"
UNSUPPORTED_TYPE: Final = 415
SECURITY: Final[Mapping[str, Schema]] = {
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key, as `Authorization: Bearer KEY`."},
}
PATH_SCHEMAS: Final[Mapping[str, Schema]] = {
    "id": {"type": "string", "format": "uuid"},
    "schedule_id": {"type": "string", "format": "uuid"},
    "name": {"type": "string", "minLength": 1, "maxLength": 120},
    "token": {"type": "string", "minLength": 1},
    "workflow_id": {"type": "string", "format": "uuid"},
    "workflow_version": {"type": "integer", "minimum": 1, "maximum": VERSION_MAX},
    "n": {"type": "integer", "minimum": 1, "maximum": VERSION_MAX},
    "version": {"type": "integer", "minimum": 1, "maximum": VERSION_MAX},
    "process_id": {"type": "string", "minLength": 1, "maxLength": 128},
}


def document(routes: Sequence[Route], sources: Sequence[str] = SOURCES, of: Dialect | None = None) -> dict[str, Any]:
    """The OpenAPI document of these routes, for a server that knows these sources of a resume.

    `of`: only that dialect's, with what its operations need. Raises `ValueError` if two operations or two types would
    have one name.
    """
    dialects = Dialects(route.dialect for route in routes)
    chosen = [each for each in dialects.all if of is None or each is of]
    mine = [route for route in routes if route.dialect in chosen]
    schema_of, components = _schemas(mine)
    _fill(components, sources, dialects)
    _check_names(routes)
    paths: dict[str, Any] = {}
    refused: dict[str, Any] = {}
    for route in mine:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of, refused, dialects)
    title = words.TITLE if of is None else f"{words.TITLE}: the {of.name} API"
    return {
        "openapi": OPENAPI,
        "info": {"title": title, "version": metadata.version("perdure"), "description": words.ABOUT.strip()},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag, "description": about} for each in chosen for tag, about in each.tags.items()],
        "x-tagGroups": [{"name": each.name, "tags": list(each.tags)} for each in chosen],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "responses": dict(sorted(refused.items())),
            "headers": _used_headers(paths, refused),
            "securitySchemes": SECURITY if any(route.scope is not None for route in mine) else {},
        },
    }


def _schemas(routes: Sequence[Route]) -> tuple[dict[tuple[str, Any], Schema], dict[str, Schema]]:
    """The schema of each type that routes read or answer, by the prefix of their dialect; and all components.

    Dialects of one prefix share their types.
    """
    types: dict[str, dict[Any, None]] = {}
    for route in routes:
        mine = types.setdefault(route.dialect.document_prefix, {})
        described = [each for each in (_body_type(route), route.answer) if each not in (None, dict)]
        mine.update(dict.fromkeys([*described, route.dialect.error_schema]))
    schema_of: dict[tuple[str, Any], Schema] = {}
    components: dict[str, Schema] = {}
    for prefix, those in types.items():
        schemas, found = schemas_of(those, prefix)
        schema_of |= {(prefix, kind): schema for kind, schema in zip(those, schemas, strict=True)}
        if both := components.keys() & found.keys():
            message = f"schema {min(both)}: types of two dialects have that name: rename one of them"
            raise ValueError(message)
        components |= found
    return schema_of, components


def _fill(components: dict[str, Schema], sources: Sequence[str], dialects: Dialects) -> None:
    """Write into schemas what only a server knows, where they are there."""
    if Resume.__name__ in components:
        components[Resume.__name__]["properties"]["payload"]["properties"]["source"] = {"enum": list(sources)}
    if NewKey.__name__ in components:
        components[NewKey.__name__]["properties"]["scopes"]["items"]["pattern"] = dialects.scope_pattern(SCOPES)


def _check_names(routes: Sequence[Route]) -> None:
    """Raises `ValueError` if two operations have one name, or two dialects one tag."""
    seen: dict[str, str] = {}
    for route in routes:
        first = seen.setdefault(operation_id(route), name_of(route))
        if first != name_of(route):
            message = (
                f"operation {operation_id(route)}: {first} and {name_of(route)} have that name: rename one of them"
            )
            raise ValueError(message)
    owners: dict[str, Dialect] = {}
    for dialect in dict.fromkeys(route.dialect for route in routes):
        for tag in dialect.tags:
            if owners.setdefault(tag, dialect) is not dialect:
                message = f"tag {tag}: the dialects {owners[tag].name} and {dialect.name} have it: rename one of them"
                raise ValueError(message)


def _used_headers(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """The answers' headers that these parts of the document refer to."""
    used: set[str] = set()
    for part in parts:
        for each in part.values():
            _gather(each, used)
    return {name: header for name, header in words.ANSWER_HEADERS.items() if name in used}


def _gather(value: Any, used: set[str]) -> None:
    """Add the names of all headers to `used` that a value refers to."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for member in members:
        _gather(member, used)
    if isinstance(value, dict) and str(value.get("$ref")).startswith(HEADERS_AT):
        used.add(value["$ref"].removeprefix(HEADERS_AT))


def _body_type(route: Route) -> Any:
    return route.body_as or route.body


def _schema(route: Route, schema_of: Mapping[tuple[str, Any], Schema], kind: Any) -> Schema:
    return schema_of[route.dialect.document_prefix, kind]


def name_of(route: Route) -> str:
    """The route's key among the examples: method and path."""
    return f"{route.method} {route.path}"


@cache
def examples() -> dict[str, Any]:
    """A request and its answer for each route; tests send the ones and compare the others."""
    text = resources.files("perdure.api.openapi").joinpath("examples.json").read_bytes()
    found: dict[str, Any] = msgspec.json.decode(text)
    return found


# --- operations --------------------------------------------------------------------------------------------------


def _operation(
    route: Route, schema_of: Mapping[tuple[str, Any], Schema], refused: dict[str, Any], dialects: Dialects
) -> dict[str, Any]:
    about = re.sub(r"\s+", " ", route.handler.__doc__ or "").strip()
    example = examples().get(name_of(route), {})
    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "tags": [route.heading],
        "summary": re.split(r"(?<=[^.]{3})[.;:](?= |$)", about)[0].replace("`", ""),  # plain text, unlike descriptions
        "description": f"{about}\n\nThe key needs the scope `{route.scope}`." if route.scope else about,
        "parameters": [*_path_parameters(route, example, dialects), *_query(route, example), *_headers(route, example)],
        "responses": {str(route.status): _success(route, schema_of, example), **_refusals(route, refused)},
        "security": [] if route.scope is None else [{name: [route.scope] if route.scope else []} for name in SECURITY],
        "x-codeSamples": snippets.snippets(route, example),
    }
    if route.end is not None:
        operation["deprecated"] = True
    if route.body is not None:
        content = {"schema": _schema(route, schema_of, _body_type(route)), **_given(example, "body", "example")}
        operation["requestBody"] = {"required": not route.is_body_optional, "content": {JSON: content}}
        if route.may_be_yaml:
            operation["requestBody"]["content"][YAML] = {"schema": content["schema"]}
    return operation


def operation_id(route: Route) -> str:
    """The operation's name: the route's own, or its handler's, behind the prefix of its dialect."""
    if route.operation_id:
        return route.operation_id
    name: str = getattr(route.handler, "__name__", "")
    parts = [route.dialect.document_prefix, *name.split("_")]
    first, *rest = [part for part in parts if part]
    return first + "".join(word.capitalize() for word in rest)


def _given(example: Mapping[str, Any], name: str, as_name: str) -> dict[str, Any]:
    return {as_name: example[name]} if name in example else {}


def _path_parameters(route: Route, example: Mapping[str, Any], dialects: Dialects) -> Iterable[dict[str, Any]]:
    given = example.get("path", {})
    for name in re.findall(r"\{(\w+)\}", route.path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": words.parameter(name),
            "schema": _path_schema(route, name, dialects),
            **_given(given, name, "example"),
        }


def _path_schema(route: Route, name: str, dialects: Dialects) -> Schema:
    """The schema of a part of a path; in camelCase it is that of its name in snake_case, and what ends so is an id."""
    if name == words.DIALECT:
        return {"enum": [each.name for each in dialects.all]}
    plain = words.in_snake_case(name)
    found = PATH_SCHEMAS.get(plain) or (PATH_SCHEMAS["id"] if plain.endswith("_id") else None)
    if found is None:
        message = f"{route.path}: {{{name}}} has no schema among PATH_SCHEMAS: give it one"
        raise ValueError(message)
    return found


def _query(route: Route, example: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    given = example.get("query", {})
    for name, schema, is_required in parameters_of(route.query):
        own = schema.pop("description", None)  # a filter says of itself what it is
        yield {
            "name": name,
            "in": "query",
            "required": is_required,
            "description": own or words.parameter(name),
            "schema": schema,
            **_given(given, name, "example"),
        }


def _headers(route: Route, example: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    given = example.get("headers", {})
    conditions = ["If-None-Match"] if route.is_of_one else ["If-Match"] if route.changes is not None else []
    for name in (*route.headers, *conditions, REQUEST_ID, *route.dialect.request_id_headers):
        header = words.REQUEST_HEADERS[REQUEST_ID if name in route.dialect.request_id_headers else name]
        yield {"name": name, "in": "header", "required": False, **header, **_given(given, name, "example")}


# --- answers -----------------------------------------------------------------------------------------------------

RATE_LIMITS: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
"""Of every answer to a key whose organization's plan has a limit."""

NO_KEY: Final = frozenset({"UNAUTHORIZED", "RATE_LIMITED"})
"""What is answered where no key was accepted."""


def _success(route: Route, schema_of: Mapping[tuple[str, Any], Schema], example: Mapping[str, Any]) -> dict[str, Any]:
    applied = "Preference-Applied" if "Prefer" in route.headers else None
    headers = _answer_headers(route, applied, "ETag" if route.is_of_one else None)
    content = {"schema": _schema(route, schema_of, route.answer), **_given(example, "answer", "example")}
    return {"description": "Success.", "headers": headers, "content": {route.media_type: content}}


def _answer_headers(route: Route, *more: str | None) -> dict[str, Any]:
    position = "X-Log-Position" if route.tells_position else None
    names = [REQUEST_ID, position, *(RATE_LIMITS if route.scope is not None else ()), *more]
    headers: dict[str, Any] = {name: _header(name) for name in names if name is not None}
    headers |= {name: _header(REQUEST_ID) for name in route.dialect.request_id_headers}
    if route.end is not None:
        headers |= words.DEPRECATION_HEADERS
    return headers


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"{HEADERS_AT}{name}"}


def _refusals(route: Route, refused: dict[str, Any]) -> dict[str, Any]:
    """What else may be answered, by status; the answers themselves are shared, and kept in `refused`."""
    found: dict[int, list[str]] = {}
    for code in sorted(_codes(route)):
        found.setdefault(STATUS[code], []).append(code)
    if route.body is not None:
        found[UNSUPPORTED_TYPE] = ["VALIDATION_ERROR"]
    responses: dict[str, Any] = {}
    for status, codes in sorted(found.items()):
        kind = named(route.dialect.error_schema.__name__, route.dialect.document_prefix)
        positioned = "positioned." if route.tells_position else ""
        positioned += "deprecated." if route.end is not None else ""
        positioned += "open." if route.scope is None else ""
        name = f"{kind}.{positioned}{status}.{'-or-'.join(dict.fromkeys(map(route.dialect.code, codes)))}"
        refused[name] = _refused(route, status, codes)
        responses[str(status)] = {"$ref": f"#/components/responses/{name}"}
    if route.is_of_one:
        about = "It is what `If-None-Match` says, and not sent again."
        responses[str(NOT_MODIFIED)] = {"description": about, "headers": _answer_headers(route, "ETag")}
    return dict(sorted(responses.items()))


def _codes(route: Route) -> set[str]:
    codes = {"VALIDATION_ERROR", "INTERNAL_ERROR", *route.refusals}
    if route.scope is not None:
        codes |= {"UNAUTHORIZED", "RATE_LIMITED", "UNAVAILABLE"}
    if route.scope:
        codes.add("FORBIDDEN")
    if route.body is not None:
        codes.add("PAYLOAD_TOO_LARGE")
    if route.changes is not None:
        codes.add("PRECONDITION_FAILED")
    return codes


def _refused(route: Route, status: int, codes: Sequence[str]) -> dict[str, Any]:
    name = route.dialect.code
    about = [f"`{name(code)}`: {words.CODES[code]}" for code in codes]
    if status == UNSUPPORTED_TYPE:
        about = [f"`{name('VALIDATION_ERROR')}`: {words.UNSUPPORTED_TYPE}"]
    retry = "Retry-After" if set(codes) & {*RETRY_AFTER_S, "RATE_LIMITED"} else None
    ask = "WWW-Authenticate" if "UNAUTHORIZED" in codes else None
    headers = _answer_headers(route, retry, ask)
    if set(codes) & NO_KEY:
        headers.pop("X-Log-Position", None)
    if "UNAUTHORIZED" in codes:
        headers = {name: header for name, header in headers.items() if name not in RATE_LIMITS}
    return {
        "description": "\n\n".join(about),
        "headers": headers,
        "content": {JSON: {"schema": coded(route.dialect, codes)}},
    }
