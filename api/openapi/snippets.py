"""Snippets of each operation: its example as a command of curl, a program in Python, and one in JavaScript.

All ask the server at `ADDRESS`, which who shows them replaces, and take the key from the variable `PERDURE_KEY`. In
Python it is a call of the client if that has a method which sends the example, as it stands; else the standard library.
"""

from __future__ import annotations

import inspect
import json
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from msgspec import UNSET

from perdure.api.client import Client
from perdure.api.client.calls import Call, Operation
from perdure.api.http.json_body import JSON
from perdure.api.http.routing import Route

ADDRESS: Final = "http://127.0.0.1:8080"
KEY_HEADER: Final = "x-api-key"
LINE_MAX: Final = 88
SHORT_MAX: Final = 60
"""So long a value may be to stand on one line."""

_RENAMED: Final[Mapping[str, str]] = {
    "is_dry_run": "dry_run",
    "is_test": "test",
    "run_input": "input",
    "state_input": "input",
    "filters": "filter",
    "execution_id": "workflow_execution_id",
    "version": "workflow_version",
    "wait_s": "wait",
}
"""Parameters of the client's methods that have another name in requests."""


class Exchange(NamedTuple):
    """The request of an example. `body` is UNSET if it has none; `is_text`: its answer is no JSON."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: Any
    has_key: bool
    is_text: bool

    @property
    def url(self) -> str:
        return ADDRESS + self.target


def snippets(route: Route, example: Mapping[str, Any]) -> list[dict[str, str]]:
    """The snippets of a route's example, as `x-codeSamples` has them."""
    asked = exchange_of(route, example)
    called = client_call(route, example)
    python = _urllib(asked) if called is None else _client(*called)
    texts = {"curl": _curl(asked), "Python": python, "JavaScript": _fetch(asked)}
    languages = {"curl": "Shell"}
    return [{"lang": languages.get(name, name), "label": name, "source": text} for name, text in texts.items()]


def exchange_of(route: Route, example: Mapping[str, Any]) -> Exchange:
    """The request that an example makes; parts of the path that it does not give stand as their names in capitals."""
    given = example.get("path", {})
    target = re.sub(r"\{(\w+)\}", lambda part: quote(str(given.get(part[1], part[1].upper())), safe=""), route.path)
    if query := example.get("query"):
        target += f"?{urlencode(query, quote_via=quote)}"
    is_text = route.media_type != JSON
    body = example.get("body", UNSET)
    return Exchange(route.method, target, example.get("headers", {}), body, route.scope is not None, is_text)


# --- curl --------------------------------------------------------------------------------------------------------


def _curl(asked: Exchange) -> str:
    way = "" if asked.method == "GET" else f"-X {asked.method} "
    parts = [f"curl {way}{shlex.quote(asked.url)}"]
    if asked.has_key:
        parts.append(f'-H "{KEY_HEADER}: $PERDURE_KEY"')
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in asked.headers.items()]
    if asked.body is not UNSET:
        parts.append(f"-H 'Content-Type: {JSON}'")
        parts.append(f"-d {shlex.quote(json.dumps(asked.body, ensure_ascii=False))}")
    return " \\\n  ".join(parts)


# --- JavaScript --------------------------------------------------------------------------------------------------


def _fetch(asked: Exchange) -> str:
    headers = [f"{json.dumps(name)}: {json.dumps(value)}," for name, value in asked.headers.items()]
    if asked.has_key:
        headers.insert(0, f'"{KEY_HEADER}": process.env.PERDURE_KEY,')
    if asked.body is not UNSET:
        headers.append(f'"Content-Type": "{JSON}",')
    options = [] if asked.method == "GET" else [f'method: "{asked.method}",']
    if headers:
        options += ["headers: {", *(f"  {header}" for header in headers), "},"]
    if asked.body is not UNSET:
        options.append(f"body: JSON.stringify({json.dumps(asked.body, indent=2, ensure_ascii=False)}),")
    more = f", {{\n{textwrap.indent(chr(10).join(options), '  ')}\n}}" if options else ""
    shown = "await answer.text()" if asked.is_text else "JSON.stringify(await answer.json(), null, 2)"
    return f"const answer = await fetch({json.dumps(asked.url)}{more});\nconsole.log({shown});"


# --- Python ------------------------------------------------------------------------------------------------------


def _urllib(asked: Exchange) -> str:
    headers = [f"{name!r}: {value!r}," for name, value in asked.headers.items()]
    if asked.has_key:
        headers.insert(0, f'"{KEY_HEADER}": os.environ["PERDURE_KEY"],')
    arguments = [f"{json.dumps(asked.url)},", f'method="{asked.method}",']
    if asked.body is not UNSET:
        headers.append(f'"Content-Type": "{JSON}",')
        arguments.append(f"data=json.dumps({_python(asked.body)}).encode(),")
    if headers:
        arguments += ["headers={", *(f"    {header}" for header in headers), "},"]
    needs_json = asked.body is not UNSET or not asked.is_text
    imports = [*(["import json"] if needs_json else []), *(["import os"] if asked.has_key else [])]
    shown = "answer.read().decode()" if asked.is_text else "json.dumps(json.load(answer), indent=2)"
    return "\n".join(
        [
            *imports,
            "from urllib.request import Request, urlopen",
            "",
            "request = Request(",
            textwrap.indent("\n".join(arguments), "    "),
            ")",
            "with urlopen(request) as answer:",
            f"    print({shown})",
        ]
    )


def _client(name: str, arguments: Mapping[str, Any]) -> str:
    """A program that calls this method of the client."""
    kinds = _methods()[name].parameters
    is_by_name = False
    given = []
    for each, value in arguments.items():
        is_by_name = is_by_name or kinds[each].kind is inspect.Parameter.KEYWORD_ONLY
        given.append(f"{each}={_python(value)}" if is_by_name else _python(value))
    line = f"    answer = perdure.{name}({', '.join(given)})"
    if "\n" in line or len(line) > LINE_MAX:
        lines = textwrap.indent(",\n".join(given), " " * 8)
        line = f"    answer = perdure.{name}(\n{lines},\n    )"
    return "\n".join(
        [
            "import os",
            "",
            "from perdure.client import Client",
            "",
            f'with Client("{ADDRESS}", os.environ["PERDURE_KEY"]) as perdure:',
            line,
            "    print(answer)",
        ]
    )


_WORDS: Final = {None: "None", True: "True", False: "False"}


def _python(value: Any) -> str:
    """A JSON value as a literal of Python, on one line if it is short."""
    if isinstance(value, dict):
        begin, end, inner = "{", "}", [f"{_python(name)}: {_python(member)}" for name, member in value.items()]
    elif isinstance(value, list):
        begin, end, inner = "[", "]", [_python(item) for item in value]
    else:
        is_word = value is None or isinstance(value, bool)
        return _WORDS[value] if is_word else json.dumps(value, ensure_ascii=False)
    line = f"{begin}{', '.join(inner)}{end}"
    if len(line) <= SHORT_MAX and "\n" not in line:
        return line
    return f"{begin}\n{textwrap.indent(''.join(f'{each},{chr(10)}' for each in inner), '    ')}{end}"


# --- the client's methods ----------------------------------------------------------------------------------------


class Method(NamedTuple):
    """A method of the client: what builds its call, and its parameters but the client itself."""

    build: Callable[..., Call[Any]]
    parameters: Mapping[str, inspect.Parameter]


@cache
def _methods() -> dict[str, Method]:
    """All methods of the client that make one call."""
    found = {}
    for owner in Client.__mro__:
        for name, member in vars(owner).items():
            if isinstance(member, Operation):
                build = getattr(owner, name)
                _, *parameters = inspect.signature(build).parameters.items()
                found[name] = Method(build, dict(parameters))
    return found


def client_call(route: Route, example: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The method of the client that sends this example, and its arguments by name; none if it has none.

    Arguments are found by their names; the call that they make is then compared with the example.
    """
    asked = exchange_of(route, example)
    ways = [dict(_members(example, is_whole=is_whole)) for is_whole in (False, True)]
    for (name, method), given in product(_methods().items(), ways):
        arguments = _bound(method, given)
        if arguments is None:
            continue
        try:
            call = method.build(None, **arguments)
            is_same = call.path == route.path and _sends(call, asked)
        except (TypeError, ValueError, AttributeError):  # another method's arguments are not this one's
            continue
        if is_same:
            return name, arguments
    return None


def _bound(method: Method, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of a method that its parameters find in a request; none if some are missing, or left over."""
    rest = dict(given)
    arguments: dict[str, Any] = {}
    unbound = []
    for each in method.parameters.values():
        names = (each.name, _RENAMED.get(each.name), "id" if each.name.endswith("_id") else None)
        found = next((name for name in names if name in rest), None)
        if found is not None:
            arguments[each.name] = rest.pop(found)
        elif each.kind is not inspect.Parameter.KEYWORD_ONLY:
            unbound.append(each)
    if rest and unbound:  # what takes the body, or the query, as a whole
        arguments[unbound.pop(0).name] = rest.pop(BODY) if set(rest) == {BODY} else rest
        rest = {} if BODY not in rest else rest
    if rest or any(each.default is inspect.Parameter.empty for each in unbound):
        return None
    return {name: arguments[name] for name in method.parameters if name in arguments}


BODY: Final = ""
"""The name under which a body stands as a whole."""


def _members(example: Mapping[str, Any], *, is_whole: bool) -> Iterator[tuple[str, Any]]:
    """What a request says, by name; the body as a whole, or its members: one that the path has too is the new one."""
    body, path = example.get("body", UNSET), example.get("path", {})
    if body is not UNSET and (is_whole or not isinstance(body, dict)):
        yield BODY, body
    elif body is not UNSET:
        yield from ((f"new_{name}" if name in path else name, member) for name, member in body.items())
    for name, value in example.get("query", {}).items():
        yield name, value.split(",") if name == "types" else value
    yield from path.items()
    headers = example.get("headers", {})
    if "Idempotency-Key" in headers:
        yield "idempotency_key", headers["Idempotency-Key"]
    if held := re.fullmatch(r"wait=(\d+)", headers.get("Prefer", "")):
        yield "hold_s", int(held[1])


def _sends(call: Call[Any], asked: Exchange) -> bool:
    """Whether a call is the request of the example; a body may have what the client says beside it."""
    key = asked.headers.get("Idempotency-Key")
    sent = {} if call.body is UNSET else call.body
    wanted = {} if asked.body is UNSET else asked.body
    return (
        call.method == asked.method
        and _says(call.target(), asked.target)
        and call.headers.get("Prefer") == asked.headers.get("Prefer")
        and (call.idempotency_key == key if key else not isinstance(call.idempotency_key, str))
        and (sent == wanted if asked.body is UNSET else {**sent, **wanted} == sent)
    )


def _says(sent: str, wanted: str) -> bool:
    """Whether a path with its query is the wanted one, and has all parameters of it."""
    path, _, query = sent.partition("?")
    wanted_path, _, wanted_query = wanted.partition("?")
    return path == wanted_path and set(parse_qsl(wanted_query)) <= set(parse_qsl(query))
