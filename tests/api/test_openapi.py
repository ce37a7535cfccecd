"""The document: valid, whole, and true; and the page that shows it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
import schemathesis
from jsonschema_rs import validator_for

from perdure.api.app import DIALECTS, ROUTES
from perdure.api.http.problems import STATUS
from perdure.api.http.routing import Route
from perdure.api.openapi import document
from perdure.api.openapi.descriptions import ANSWER_HEADERS, CODES, PARAMETERS, REQUEST_HEADERS, in_snake_case
from perdure.api.openapi.document import examples, name_of
from tests.api.conftest import Api
from tests.api.record_examples import OWN, STORIES, Story

DOCUMENT = document(ROUTES)


def operation_of(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][route.path][route.method.lower()]
    return found


def schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in the document."""
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from schemas(member)
    elif isinstance(value, list):
        for item in value:
            yield from schemas(item)


def test_the_document_is_valid() -> None:
    """By the meta-schema of OpenAPI 3.1."""
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_every_reference_leads_somewhere() -> None:
    """And every component is referred to."""
    wanted = {each["$ref"] for each in schemas(DOCUMENT) if isinstance(each.get("$ref"), str)}
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "headers")
        for name in DOCUMENT["components"][kind]
    }
    assert wanted == there


def test_every_route_is_described_and_nothing_else() -> None:
    """One operation for each, by a name of its own."""
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    names = [operation_of(route)["operationId"] for route in ROUTES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_an_operation_says_all_that_matters(route: Route) -> None:
    """Words, parameters, a body where one is read, the answer's type, who may call it, and what it refuses."""
    operation = operation_of(route)
    assert all(operation[member] for member in ("summary", "description", "tags"))
    assert route.answer is not None
    assert ("requestBody" in operation) is (route.body is not None)
    assert bool(operation["security"]) is (route.scope is not None)
    in_path = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
    assert in_path == re.findall(r"\{(\w+)\}", route.path)
    assert all(each["description"] and each["schema"] for each in operation["parameters"])
    assert {str(route.status), "400", "500"} <= set(operation["responses"])
    assert ("401" in operation["responses"]) is (route.scope is not None)
    assert ("413" in operation["responses"]) is (route.body is not None)


def test_all_words_are_needed() -> None:
    """No parameter, header or code is described that is in no operation; all codes but that of the framework are."""
    parameters = [each for route in ROUTES for each in operation_of(route)["parameters"]]
    echoed = {name for dialect in DIALECTS.all for name in dialect.request_id_headers}
    assert {each["name"] for each in parameters if each["in"] == "header"} - echoed == set(REQUEST_HEADERS)
    named = {each["name"] for each in parameters if each["in"] != "header"}
    assert set(PARAMETERS) <= named | {in_snake_case(name) for name in named}
    assert set(CODES) == set(STATUS) - {"METHOD_NOT_ALLOWED"}
    told = {name for each in schemas(DOCUMENT) for name in each.get("headers", {}) if "$ref" in each["headers"][name]}
    assert told - echoed == set(ANSWER_HEADERS)


@pytest.mark.parametrize("order", STORIES, ids=lambda order: order[0])
async def test_examples_answer_as_the_document_says(api: Api, order: tuple[str, ...]) -> None:
    """Each route's example is sent, and gets the answer that stands beside it; the answer has the declared type."""
    story = Story(api)
    by_name = {name_of(route): route for route in ROUTES}
    for name in order:
        status, answer = await story.tell(name, examples()[name])
        assert status == by_name[name].status, answer
        assert answer == examples()[name]["answer"], "python -m tests.api.record_examples writes them anew"
        content = operation_of(by_name[name])["responses"][str(status)]["content"]["application/json"]
        root = {"$ref": content["schema"]["$ref"], "components": DOCUMENT["components"]}
        validator_for(root).validate(answer)
        assert content["example"] == answer


def test_every_route_has_an_example() -> None:
    """But those that are about the document itself; and each is told in one story."""
    told = [name for order in STORIES for name in order]
    assert len(set(told)) == len(told)
    assert set(examples()) == set(told) == {name_of(route) for route in ROUTES} - set(OWN)


async def test_the_document_is_served(api: Api) -> None:
    """To everybody, as it is made from the routes."""
    response = await api.get("/openapi.json", key=None)
    assert response.headers["content-type"] == "application/json"
    assert response.json() == msgspec.json.decode(msgspec.json.encode(DOCUMENT))


def texts_of(value: Any, name: str) -> list[str]:
    """All texts under a member's name."""
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item, name)]
    if not isinstance(value, dict):
        return []
    own = [value[name]] if isinstance(value.get(name), str) else []
    return own + [text for item in value.values() for text in texts_of(item, name)]


def test_the_document_is_the_same_on_every_python() -> None:
    """Docstrings lose their indentation in 3.13; descriptions never have it."""
    descriptions = texts_of(DOCUMENT, "description")
    assert any("\n\n" in text for text in descriptions)
    assert [text for text in descriptions if text != inspect.cleandoc(text)] == []


def test_summaries_are_plain() -> None:
    """Only descriptions have marks in them, which the page shows as code."""
    assert [text for text in texts_of(DOCUMENT["paths"], "summary") if "`" in text] == []


# --- the page ----------------------------------------------------------------------------------------------------


class Fetched(HTMLParser):
    """What a browser would fetch for a page, and the handlers that a policy would not let run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "srcset", "action", "data", "poster", "style") or name.startswith("on"):
                self.found.append((name, value or ""))
            if name == "href" and not (value or "").startswith(("data:,", "openapi.json", "#")):
                self.found.append((name, value or ""))


async def test_the_page_asks_nobody_else(api: Api) -> None:
    """It holds no address but this server's, and its policy would not let it fetch from another."""
    response = await api.get("/docs", key=None)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"https?:|//[a-z]|url\(|@import|import\(", response.text)
    fetched = Fetched()
    fetched.feed(response.text)
    assert fetched.found == []
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for kind in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", policy[kind])
    assert len(response.content) < 40_000
