"""Snippets of the document: they are the examples, and run as they stand, in each language and each dialect."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from perdure.api.app import ROUTES
from perdure.api.dialects.resource.dialect import RESOURCE
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.openapi import document
from perdure.api.openapi.document import examples, name_of
from perdure.api.openapi.snippets import ADDRESS, client_call, exchange_of, snippets
from tests.api.record_examples import ORDER
from tests.test_readme import ROOT, serving

LANGUAGES: Final = ("curl", "Python", "JavaScript")
KEY: Final = "a-long-secret-of-yours"
"""That of `serving`."""
TRIED: Final = 4
"""So many operations of each dialect are tried in all languages; the others with curl."""
BY_DOCUMENT: Final = ("POST /v1/workflows/validate", "POST /v1/workflows/convert")
"""What the client takes as a document and its format, and sends in members of their own."""

STAGED: Final = ("{token}", "/approvals/", "/retry", "/release", "/pause", "/unpause", "/clock")
"""What is in these paths needs a run, or a clock, that no call of the story makes; a workflow's pause does not."""


def route_of(name: str) -> Route:
    return next(each for each in ROUTES if name_of(each) == name)


def sources_of(name: str) -> dict[str, str]:
    return {each["label"]: each["source"] for each in snippets(route_of(name), examples().get(name, {}))}


async def do_something(_call: RouteCall[Any, Any]) -> Reply:
    """Something."""
    return Reply({})


def made_up(**more: Any) -> Route:
    """A route that the client has no method for."""
    given = {"method": "POST", "path": "/v1/things/{id}", "scope": "runs.view", **more}
    return Route(dialect=RESOURCE, handler=do_something, **given)


# --- what they say -----------------------------------------------------------------------------------------------


def test_every_operation_has_one_in_each_language() -> None:
    """In the document, where tools look for them; Python is Python, and no key stands in any."""
    for methods in document(ROUTES)["paths"].values():
        for operation in methods.values():
            samples = operation["x-codeSamples"]
            assert [each["label"] for each in samples] == list(LANGUAGES)
            for each in samples:
                assert ADDRESS in each["source"], operation["operationId"]
                assert ("PERDURE_KEY" in each["source"]) or not operation["security"]
            ast.parse(samples[1]["source"])


def test_python_calls_the_client_where_it_has_a_method() -> None:
    """Of the resource and the process API it has one for each example; the rest is urllib."""
    without = [name for name in examples() if client_call(route_of(name), examples()[name]) is None]
    of_others = [name for name in without if route_of(name).dialect.name not in {"resource", "process", "root"}]
    assert set(without) == {*of_others, *BY_DOCUMENT}
    assert "perdure.create_workflow(" in sources_of("POST /v1/workflows")["Python"]
    assert "perdure.trigger(" in sources_of("POST /v2/workflows/triggerworkflow/{workflow_id}")["Python"]


@pytest.mark.parametrize("name", list(examples()))
def test_the_call_of_the_client_is_the_example(name: str) -> None:
    """The same path, query and body; beside that only what the client says of itself."""
    route, example = route_of(name), examples()[name]
    found = client_call(route, example)
    source = sources_of(name)["Python"]
    if found is None:
        assert "from urllib.request" in source
        return
    asked = exchange_of(route, example)
    method, arguments = found
    assert f"perdure.{method}(" in source
    program = ast.parse(source)
    call = next(
        each
        for each in ast.walk(program)
        if isinstance(each, ast.Call) and ast.unparse(each.func) == f"perdure.{method}"
    )
    written = [ast.literal_eval(each) for each in call.args] + [ast.literal_eval(each.value) for each in call.keywords]
    assert written == list(arguments.values())
    values = [value for part in ("path", "query") for value in example.get(part, {}).values()]
    assert all(str(value) in source or str(value).split(",")[0] in source for value in values), source
    assert asked.method == route.method


def test_what_shells_and_languages_would_read_is_quoted() -> None:
    """Quotes, dollars, backquotes, line breaks and letters of any alphabet arrive as they are."""
    body: dict[str, Any] = {
        "it's": 'a "quoted" $HOME `id` \\ \n line',
        "ü": None,
        "b": [True, False, 1.5],
        "\U0001f600": {},
    }
    example = {"body": body, "path": {"id": "a/b c"}, "query": {"x": "ü&="}, "headers": {"Prefer": "it's"}}
    sources = {each["label"]: each["source"] for each in snippets(made_up(body=dict), example)}
    assert "/v1/things/a%2Fb%20c?x=%C3%BC%26%3D" in sources["curl"]
    command = sources["curl"].replace("curl ", "printf '%s\\n' ", 1)
    printed = subprocess.run(
        ["bash", "-euc", command], capture_output=True, text=True, check=True, env={"PERDURE_KEY": "k"}
    )
    assert json.loads(printed.stdout.split("\n-d\n")[1]) == body
    assert "\nPrefer: it's\n" in printed.stdout
    dumped = [
        ast.literal_eval(each.args[0])
        for each in ast.walk(ast.parse(sources["Python"]))
        if isinstance(each, ast.Call) and isinstance(each.args[:1] and each.args[0], ast.Dict)
    ]
    assert dumped == [body]


def test_a_path_without_an_example_shows_what_to_put_there() -> None:
    """The name of the part, in capitals."""
    assert exchange_of(made_up(path="/v1/things/{thing_id}"), {}).target == "/v1/things/THING_ID"


def test_what_is_open_to_everybody_sends_no_key() -> None:
    """No header, and no variable that must be set."""
    for source in (each["source"] for each in snippets(made_up(method="GET", scope=None), {})):
        assert "PERDURE_KEY" not in source


# --- that they run -----------------------------------------------------------------------------------------------


def runnable(name: str) -> bool:
    """Whether the story may tell it here: a workflow's pause needs nothing that is not there."""
    return name.startswith("POST /v1/workflows/") or not any(part in name for part in STAGED)


def is_repeatable(name: str) -> bool:
    """Whether it may be sent by one language after another, to the same end."""
    return name.startswith("GET ") or "Idempotency-Key" in examples()[name].get("headers", {})


def ids_in(shown: Any, real: Any) -> Iterator[tuple[str, str]]:
    """The texts of an example's answer beside those of a real one."""
    if isinstance(shown, dict) and isinstance(real, dict):
        for name in shown.keys() & real.keys():
            yield from ids_in(shown[name], real[name])
    elif isinstance(shown, list) and isinstance(real, list):
        for one, other in zip(shown, real, strict=False):
            yield from ids_in(one, other)
    elif isinstance(shown, str) and isinstance(real, str) and shown.startswith("01977420-dc00-7000-8000-"):
        yield shown, real


class Reader:
    """A reader of the page, who copies snippets and runs them against a server of their own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._real: dict[str, str] = {}

    def run(self, name: str, language: str) -> str:
        """What a snippet prints; it must end well."""
        source = sources_of(name)[language].replace(ADDRESS, self._address)
        for shown, real in self._real.items():
            source = source.replace(shown, real)
        commands = {
            "curl": ["bash", "-euc", source.replace("curl ", "curl -sS --fail-with-body ", 1)],
            "Python": [sys.executable, "-c", source],
            "JavaScript": ["node", "--input-type=module", "-e", source],
        }
        done = subprocess.run(
            commands[language],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
            env={**os.environ, "PERDURE_KEY": KEY, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, f"{name}\n{source}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def learn(self, name: str, answer: Any) -> None:
        """Remember the ids that this server made where the example has others."""
        self._real |= dict(ids_in(examples()[name]["answer"], answer))


@pytest.mark.real_process
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_they_run_as_they_stand(tmp_path: Path) -> None:
    """The story of the examples, told with curl; some of each dialect in Python and, with node there, in JavaScript."""
    languages = [each for each in LANGUAGES if each != "JavaScript" or shutil.which("node")]

    def tell(address: str) -> Counter[str]:
        reader, tried = Reader(address), Counter[str]()
        for name in filter(runnable, ORDER):
            answer = json.loads(reader.run(name, "curl"))
            reader.learn(name, answer)
            dialect = route_of(name).dialect.name
            if not is_repeatable(name) or tried[dialect] == TRIED:
                continue
            tried[dialect] += 1
            assert reader.run(name, "Python").strip(), name
            if "JavaScript" in languages:
                assert json.loads(reader.run(name, "JavaScript")).keys() == answer.keys(), name
        return tried

    async with serving(tmp_path) as address:
        tried = await asyncio.to_thread(tell, address)
    for dialect in {route_of(name).dialect.name for name in ORDER}:
        there = sum(route_of(name).dialect.name == dialect and runnable(name) and is_repeatable(name) for name in ORDER)
        assert tried[dialect] == min(TRIED, there) > 0, dialect
    if "JavaScript" not in languages:
        pytest.skip("there is no node: the snippets in JavaScript were not run")
