"""The document, dialect by dialect: each has what it uses, and no name of one is another's."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import schemathesis
from jsonschema_rs import validator_for

from perdure.api.app import DIALECTS, ROUTES, TABLES, mounted
from perdure.api.dialects.envelopes import failure
from perdure.api.dialects.schemas import OpenShape, Refusal
from perdure.api.dialects.service.dialect import SERVICE
from perdure.api.http.dialect import Dialect, camel_case
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.openapi import document
from perdure.api.openapi import routes as documented
from perdure.api.openapi.descriptions import in_snake_case, parameter
from perdure.api.settings import Settings
from perdure.api.validation import Request
from tests.api.conftest import Api

BYTES_MAX = 2_000_000
BYTES_MAX_EACH = 12_000
"""Of an operation, with its part of the components."""
SECONDS_MAX = 10
"""It takes less than one; what is slow is slow by orders."""


class Named(OpenShape, frozen=True):
    """What has a name."""

    name: str


class Listing(Request, frozen=True, rename="camel"):
    """A query in camelCase."""

    workflow_id: str | None = None
    limit: int = 50


async def show_thing(_call: RouteCall[Any, None]) -> Reply:
    """A thing."""
    return Reply({"name": "a"})


def dialect(name: str, *, prefix: str = "", tag: str = "") -> Dialect:
    """A dialect that is nobody's."""
    return Dialect(
        name=name,
        prefix=f"/{name}/",
        error_envelope=failure,
        error_schema=Refusal,
        casing=camel_case,
        tags={tag or name.capitalize(): "a"},
        document_prefix=prefix,
    )


def route(of: Dialect, path: str = "things", **more: Any) -> Route:
    more = {"handler": show_thing, "answer": Named, "scope": "runs.view", "method": "GET", **more}
    return Route(dialect=of, path=f"{of.prefix}{path}", **more)


def with_table(*table: Route) -> dict[str, Any]:
    """The document of a server that has these routes besides its own."""
    return document(mounted((*TABLES, table)))


def references(value: Any) -> Iterator[str]:
    """Everything that is referred to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.mark.parametrize("name", [each.name for each in DIALECTS.all])
async def test_each_dialect_has_a_document_of_its_own(api: Api, name: str) -> None:
    """It is valid, has that dialect's operations as the whole one has them, and no component that they do not need."""
    response = await api.get(f"/openapi/{name}.json", key=None)
    assert response.headers["content-type"] == "application/json"
    found, whole = response.json(), msgspec.json.decode(msgspec.json.encode(document(ROUTES)))
    schemathesis.openapi.from_dict(found).validate()
    mine = next(each for each in DIALECTS.all if each.name == name)
    assert found["paths"] == {path: those for path, those in whole["paths"].items() if DIALECTS.of(path) is mine}
    assert {each["name"] for each in found["tags"]} == set(mine.tags)
    assert found["x-tagGroups"] == [{"name": name, "tags": list(mine.tags)}]
    there = {
        f"#/components/{kind}/{each}"
        for kind in ("schemas", "responses", "headers")
        for each in found["components"][kind]
    }
    assert set(references(found)) == there
    for kind, those in found["components"].items():
        assert those.items() <= whole["components"][kind].items()


async def test_another_name_is_refused(api: Api) -> None:
    """With those that there are, and the one that may be meant."""
    response = await api.get("/openapi/proces.json", key=None)
    assert response.status_code == 404
    message = response.json()["error"]["message"]
    assert all(route.dialect.name in message for route in ROUTES)
    assert "Did you mean 'process'?" in message


def test_all_operations_stand_under_their_dialect() -> None:
    """The groups of tags are the dialects, and each tag is in one."""
    found = document(ROUTES)
    groups = {each["name"]: set(each["tags"]) for each in found["x-tagGroups"]}
    for each in ROUTES:
        operation = found["paths"][each.path][each.method.lower()]
        assert set(operation["tags"]) <= groups[each.dialect.name], each.path
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())) == len(found["tags"])


# --- names -------------------------------------------------------------------------------------------------------


def test_names_of_a_dialect_with_a_prefix_are_nobody_elses() -> None:
    """Types and operations of one name stand side by side, in two dialects."""
    one, two = dialect("one"), dialect("two", prefix="two")

    class WorkflowShown(OpenShape, frozen=True):
        """A workflow that has a name of the resource API's."""

        nickname: str

    table = (route(one), route(two, "things", answer=WorkflowShown), route(two, "{workflowId}/{n}", method="POST"))
    with pytest.raises(ValueError, match=r"operation twoShowThing: .* have that name"):
        with_table(*table)
    found = with_table(*table[:2])
    schemathesis.openapi.from_dict(found).validate()
    schemas = found["components"]["schemas"]
    assert set(schemas["TwoWorkflowShown"]["properties"]) == {"nickname"}
    assert "id" in schemas["WorkflowShown"]["properties"]
    assert schemas["TwoRefusal"] == {**schemas["Refusal"], "properties": schemas["TwoRefusal"]["properties"]}
    operation = found["paths"]["/two/things"]["get"]
    assert operation["operationId"] == "twoShowThing"
    assert found["paths"]["/one/things"]["get"]["operationId"] == "showThing"
    content = operation["responses"]["200"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/TwoWorkflowShown"}


def test_two_types_of_one_name_are_refused() -> None:
    """Whoever starts a server with them is told which; neither takes the place of the other in silence."""

    class WorkflowShown(OpenShape, frozen=True):
        """A workflow that has a name of the resource API's, and stands beside it."""

        nickname: str

    with pytest.raises(ValueError, match="schema WorkflowShown: two types have that name"):
        with_table(route(dialect("one"), answer=WorkflowShown))
    two = dialect("two", prefix="two")

    class Named(OpenShape, frozen=True):
        """What is something else."""

        other: int

    other = msgspec.defstruct("Named", [("more", int)], module="other")

    own = (route(two, answer=other), route(two, "others", answer=Named, operation_id="other"))
    with pytest.raises(ValueError, match="schema TwoNamed: two types have that name"):
        with_table(*own)


def test_two_operations_or_headings_of_one_name_are_refused() -> None:
    """With both routes, or both dialects."""
    one, two = dialect("one"), dialect("two", prefix="two", tag="One")
    with pytest.raises(ValueError, match="operation showThing: GET /one/things and GET /one/others have that name"):
        with_table(route(one), route(one, "others"))
    with pytest.raises(ValueError, match="tag One: the dialects one and two have it"):
        with_table(route(one), route(two))


# --- parameters --------------------------------------------------------------------------------------------------


def test_parameters_in_camel_case_have_the_words_of_those_in_snake_case() -> None:
    """Those of a query that msgspec renames, and the parts of a path; what ends as an id does is one."""
    one = dialect("one", prefix="one")
    found = with_table(route(one, "{workflowId}/{approvalId}/{n}/{run_id}", query=Listing))
    parameters = found["paths"]["/one/{workflowId}/{approvalId}/{n}/{run_id}"]["get"]["parameters"]
    shown = {each["name"]: each for each in parameters if each["in"] != "header"}
    in_query = [each["name"] for each in parameters if each["in"] == "query"]
    assert in_query == ["workflowId", "limit"]
    assert shown["workflowId"]["description"] == parameter("workflow_id")
    assert shown["approvalId"]["description"] == "The approval's id."
    assert shown["approvalId"]["schema"] == shown["run_id"]["schema"] == {"type": "string", "format": "uuid"}
    assert shown["n"]["schema"]["type"] == "integer"
    assert [in_snake_case(each) for each in ("waitId", "wait_id", "n")] == ["wait_id", "wait_id", "n"]


def test_a_parameter_without_words_or_schema_says_where_to_give_it_some() -> None:
    """Its name, and the table."""
    one = dialect("one", prefix="one")
    with pytest.raises(ValueError, match="parameter mystery: it has no words in PARAMETERS"):
        with_table(route(one, "{mystery}"))
    with pytest.raises(ValueError, match=r"\{limit\} has no schema among PATH_SCHEMAS"):
        with_table(route(one, "{limit}"))


def test_refusals_are_told_as_the_dialect_tells_them() -> None:
    """The service API's envelope and words for codes, each word once."""
    found = with_table(route(SERVICE, "things/{id}", operation_id="probe", refusals=frozenset({"CONFLICT"})))
    responses = found["paths"][f"{SERVICE.prefix}things/{{id}}"]["get"]["responses"]
    for status, code in (("400", "validation_failed"), ("403", "insufficient_scope"), ("409", "conflict")):
        name = responses[status]["$ref"].rpartition("/")[2]
        schema = found["components"]["responses"][name]["content"]["application/json"]["schema"]
        validator = validator_for({**schema, "components": found["components"]})
        assert validator.is_valid({"error": {"code": code, "message": "a", "details": []}}), schema
        assert not validator.is_valid({"error": {"code": "VALIDATION_ERROR", "message": "a", "details": []}})
        assert not validator.is_valid({"success": False, "error": {"code": code, "message": "a"}})


# --- bounds ------------------------------------------------------------------------------------------------------


def test_the_document_is_of_bounded_size_and_quickly_made() -> None:
    """For each operation so much, and no more in all than a reader would wait for."""
    began = time.perf_counter()
    size = len(msgspec.json.encode(document(ROUTES)))
    assert time.perf_counter() - began < SECONDS_MAX
    assert size < min(BYTES_MAX, BYTES_MAX_EACH * len(ROUTES))


async def test_it_is_made_once_when_it_is_first_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not when routes are mounted: a server that nobody asks makes none."""
    made: list[str] = []

    def counted(*given: Any) -> dict[str, Any]:
        of = given[2]
        made.append("" if of is None else of.name)
        return {}

    monkeypatch.setattr(sys.modules["perdure.api.openapi.routes"], "document", counted)
    own = {each.path: each for each in documented([each for table in TABLES for each in table])}
    assert made == []

    call: Any = SimpleNamespace(settings=Settings(), path={"dialect": "process"})
    for _ in range(3):
        for each in ("/openapi.json", "/openapi/{dialect}.json"):
            await own[each].handler(call)
    assert made == ["", "process"]
