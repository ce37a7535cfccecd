"""Requests that nobody thought of: schemathesis draws them from the document, and each answer is held against it.

`python3 dev.py fuzz [REQUESTS [SEED]]` sends 5,000; the suite sends fewer. In process, over an engine on the store in
memory. A refused request must leave no row behind; what the log keeps of a refusal (decision record 4) is no row of
the request's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections import Counter
from typing import Any
from urllib.parse import quote, urlsplit

import hypothesis
import requests
import schemathesis
import structlog
from hypothesis.errors import Unsatisfiable
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.generation.drivers import CoverageGenerator
from schemathesis.generation.feedback import NO_FEEDBACK
from schemathesis.generation.overrides import Override

from perdure.api.app import ROUTES
from perdure.api.openapi import document
from perdure.api.openapi.descriptions import in_snake_case
from perdure.api.settings import Settings
from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.services.plans import PLANS
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore
from tests.api.conftest import ENDING, KEY, TWO_QUESTIONS, WAITING, Api

ASKING: list[dict[str, Any]] = [{"id": "ask", "type": "approval", "config": {"title": "{{ input.a }}", "required": 2}}]
WORKING: list[dict[str, Any]] = [
    {"id": "each", "type": "loop", "config": {"collection": [1, 2], "steps": [{"id": "a", "type": "transform"}]}},
    {"id": "wait", "type": "wait", "config": {"duration": 10}},
]
HELD_S = 0.05
HELD_MS = 31_000
BASE = "http://perdure.test"
# Not those that send requests of their own, over a network that is not there.
EXCLUDED = ("ignored_auth", "use_after_free", "ensure_resource_availability", "positive_data_acceptance")


class Fuzzed(Api):
    """The app, what it holds, and what came of the requests so far."""

    def __init__(self, engine: Engine, seed: int) -> None:
        super().__init__(engine, Settings())
        self.chance = random.Random(seed)
        self.known: dict[str, list[str]] = {}
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.weak_key = ""

    @property
    def sent(self) -> int:
        return self.statuses.total()

    async def seed(self) -> None:
        """Workflows, runs, waits and keys in every state that there is, for requests to be about."""
        workflows = [await self.workflow(each) for each in (WAITING, ENDING, TWO_QUESTIONS)]
        runs = [await self.trigger(each) for each in workflows for _ in range(2)]
        await self.settled()
        await self.resume(runs[0])
        await self.terminate(runs[2])
        workflows.append(await self.workflow(WAITING, status="draft", mock_payload={"a": 1}))
        gone = await self.workflow(ENDING)
        await self.ok("DELETE", f"/v1/workflows/{gone}")
        await self.ok("PATCH", f"/v1/workflows/{workflows[1]}", json={"definition": WAITING})
        await self.trigger(workflows[0], {"process_id": (name := f"INV/{self.sent}")})
        schedule = {"cron_expression": "0 9 * * *", "overlap": "buffer_one"}
        made = [await self.ok("POST", f"/v1/workflows/{each}/schedules", json=schedule) for each in workflows]
        self.weak_key = await self.new_key("audit.read")
        keys = (await self.ok("GET", "/v1/keys"))["data"]
        waits = (await self.ok("GET", "/v1/waits?limit=100"))["data"]
        self.known = {
            "workflow_id": [*workflows, gone],
            "workflow_execution_id": runs,
            "process_id": [*runs, name],
            "schedule_id": [each["data"]["id"] for each in made],
            "wait_id": [wait["wait_id"] for wait in waits],
            "after": [wait["wait_id"] for wait in waits],
            "key": [key["id"] for key in keys if key["name"] != "bootstrap"],
            "state": ["Ask", "First", "Second"],
        }
        asking = [await self.asking(each) for each in (ASKING, WORKING, ASKING)]
        self.known["workflow_id"] += [each for each, _, _ in asking]
        self.known["workflow_execution_id"] += [each for _, each, _ in asking]
        self.known["approval_id"] = [each for _, _, each in asking if each]
        self.known["token"] = [(await self.token())[1] for _ in range(3)]
        await self.settled()

    async def asking(self, steps: list[dict[str, Any]]) -> tuple[str, str, str]:
        """A workflow of steps, a run of it, and an approval that this asks for, if it does."""
        body = {"name": "steps", "steps": steps, "status": "active"}
        made = (await self.ok("POST", "/api/v1/workflows", json=body))["data"]["id"]
        run = (await self.ok("POST", f"/api/v1/workflows/{made}/run"))["data"]["runId"]
        await self.settled()
        approvals = (await self.ok("GET", f"/api/v1/runs/{run}"))["data"]["approvals"]
        return made, run, approvals[0]["id"] if approvals else ""

    def aim(self, case: Any) -> None:
        """Let what names something by a well-formed id mostly name what is there."""
        for container in (case.path_parameters, case.query):
            for name in list(container or {}):
                pool = self.known.get(_pool(case.path, name))
                if not pool or not isinstance(container[name], str) or self.chance.random() < 0.2:
                    continue
                if name in ("process_id", "state", "token") or _is_id(container[name]):
                    value = self.chance.choice(pool)
                    container[name] = quote(value, safe="") if container is case.path_parameters else value
        body = case.body
        if isinstance(body, dict) and isinstance(body.get("definition"), dict) and self.chance.random() < 0.7:
            case.body = {**body, "definition": self.chance.choice([WAITING, ENDING, TWO_QUESTIONS])}
        if isinstance(body, dict) and body.get("plan") in list(PLANS):  # a smaller one would end all that follows
            case.body = {**body, "plan": "unlimited"}
        if isinstance(body, dict) and isinstance(body.get("steps"), list) and self.chance.random() < 0.7:
            case.body = {**body, "steps": self.chance.choice([ASKING, WORKING])}

    async def check(self, case: Any) -> None:
        """Send a request, and hold the answer and the store against what was promised."""
        request = requests.Request(**_plain(case.as_transport_kwargs(base_url=BASE))).prepare()
        key = KEY if self.chance.random() < 0.95 else self.chance.choice([self.weak_key, "nobody"])
        before, log = rows_of(self.store), len(self.store._log)
        response = await self._call(request, key)
        self.statuses[f"{case.method} {case.path}", response.status_code] += 1
        if response.status_code >= 400:
            self._check_nothing_left(before, log, response, case)
        else:
            await self.settled()
        excluded = [schemathesis.checks.CHECKS.get_one(name) for name in EXCLUDED]
        case.validate_response(response, excluded_checks=excluded)

    def _check_nothing_left(self, before: dict[str, Any], log: int, response: Response, case: Any) -> None:
        events = [each.row.type for each in self.store._log[log:]]
        after = rows_of(self.store)
        changed = {name for name in after if after[name] != before[name]}
        if response.status_code == 409 and set(events) == {"CommandRefused"}:
            events, changed = [], changed - {"ExecutionRow", "SnapshotRow", "streams"}
        assert not events, f"{case.as_curl_command()}\n{response.status_code}, and the log has {events}"
        assert not changed, f"{case.as_curl_command()}\n{response.status_code}, and rows changed in {changed}"

    async def _call(self, request: requests.PreparedRequest, key: str) -> Response:
        call = asyncio.create_task(self._exchange(request, key))
        while not (await asyncio.wait({call}, timeout=HELD_S))[0]:
            await self.push(HELD_MS)
        return call.result()

    async def _exchange(self, request: requests.PreparedRequest, key: str) -> Response:
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        url = urlsplit(str(request.url))
        headers = {_raw(name).lower(): _raw(value) for name, value in request.headers.items()}
        headers.setdefault(b"x-api-key", key.encode())
        answer: list[dict[str, Any]] = []
        given = [{"type": "http.request", "body": body}]

        async def receive() -> dict[str, Any]:
            return given.pop() if given else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answer.append(message)

        scope = {
            "type": "http",
            "method": request.method,
            "path": url.path,
            "raw_path": url.path.encode(),
            "query_string": url.query.encode(),
            "headers": list(headers.items()),
        }
        await self.app(scope, receive, send)
        told: dict[str, list[str]] = {}
        for name, value in answer[0]["headers"]:
            told.setdefault(name.decode(), []).append(value.decode())
        content = b"".join(message.get("body", b"") for message in answer[1:])
        return Response(answer[0]["status"], told, content, request, 0.0, verify=False)


def _pool(path: str, name: str) -> str:
    """What a parameter is about, by its name in this code."""
    if name != "id":
        return in_snake_case(name)
    return "key" if "keys" in path else "workflow_execution_id" if "/runs" in path else "workflow_id"


def _raw(text: str | bytes) -> bytes:
    return text.encode("latin-1", "replace") if isinstance(text, str) else text


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in ("timeout", "verify", "cert", "proxies")}


def _is_id(value: str) -> bool:
    try:
        ids.parse(value)
    except ValueError:
        return False
    return True


def rows_of(store: MemoryStore) -> dict[str, Any]:
    tables = {kind.__name__: dict(table.rows) for kind, table in store._tables.items()}
    claims = {"process ids": dict(store._process_ids.rows), "idempotency": dict(store._idempotency.rows)}
    return {**tables, **claims, "streams": dict(store._streams)}


async def started(seed: int) -> Fuzzed:
    engine = await Engine.start(MemoryStore(), clock=ManualClock())
    await engine.services.access.bootstrap(KEY, "cli:fuzz")
    await engine.node.recovery.is_done.wait()
    return Fuzzed(engine, seed)


def _edges(operation: Any, chance: random.Random, most: int) -> list[Any]:
    """Cases at the edges of what the document accepts, and just beyond, in an order of chance."""
    config = operation.schema.config.generation_for(operation=operation, phase="coverage")
    generator = CoverageGenerator(
        operation=operation,
        generation_modes=list(GenerationMode),
        generation_config=config,
        auth_storage=None,
        override=Override({}, {}, {}, {}, {}),
        feedback=NO_FEEDBACK,
        hooks=None,
    )
    cases = list(generator)
    chance.shuffle(cases)
    return cases[:most]


def fuzz(most: int, seed: int) -> Fuzzed:
    """Send at least so many requests, about as many to each operation. Raises for the first wrong answer."""
    described = document(ROUTES)
    for operation in (each for methods in described["paths"].values() for each in methods.values()):
        del operation["security"]  # else most keys would be drawn too, and known to nobody
    schema = schemathesis.openapi.from_dict(described)
    every: Any = schema.get_all_operations()  # all of them are good: it is our own document
    operations = [each.ok() for each in every]
    with asyncio.Runner() as runner:
        api = runner.run(started(seed))
        try:
            while api.sent < most:
                share = max(3, (most - api.sent) // len(operations) // 3)
                for operation in operations:
                    _strain(runner, api, operation, share)
        finally:
            runner.run(api.close())
    return api


def _strain(runner: asyncio.Runner, api: Fuzzed, operation: Any, share: int) -> None:
    """Send one operation what is at the edges of the document, what is within, and what is beyond."""
    runner.run(api.seed())
    for case in _edges(operation, api.chance, share):
        api.aim(case)
        runner.run(api.check(case))
    for mode in _modes(operation):
        _draw(runner, api, operation, mode, share)


def _modes(operation: Any) -> list[GenerationMode]:
    """Nothing can be wrong with a request that says nothing."""
    says = [*operation.path_parameters, *operation.query, *operation.body]
    return list(GenerationMode) if says else [GenerationMode.POSITIVE]


def _draw(runner: asyncio.Runner, api: Fuzzed, operation: Any, mode: GenerationMode, most: int) -> None:
    @hypothesis.seed(api.chance.randrange(2**32))
    @hypothesis.settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        api.aim(case)
        runner.run(api.check(case))

    with contextlib.suppress(Unsatisfiable):  # of a path that may hold any text nothing is wrong
        check()


def silence() -> None:
    """Log nothing."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])


def main(arguments: list[str]) -> None:
    silence()
    most = int(arguments[0]) if arguments else 5_000
    seed = int(arguments[1]) if len(arguments) > 1 else random.randrange(2**32)
    print(f"seed {seed}", flush=True)  # noqa: T201 what the task says
    api = fuzz(most, seed)
    counts = Counter(status for (_, status), count in api.statuses.items() for _ in range(count))
    print(f"{api.sent} requests: {', '.join(f'{counts[status]} × {status}' for status in sorted(counts))}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
