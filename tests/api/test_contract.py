"""The page of the HTTP contract names what there is: every route, code, scope and limit, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path

from perdure.api.app import ROUTES
from perdure.api.dialects.resource import fields
from perdure.api.http import connections, paging, routing
from perdure.api.http import json_body as bodies
from perdure.api.http.headers import HOLD_DEFAULT_MS, HOLD_MAX_S, KEY_MAX
from perdure.api.http.metrics import PATH as METRICS
from perdure.api.http.problems import STATUS
from perdure.api.http.routing import ANY_KEY, Route
from perdure.api.http.throttle import WRONG_MAX
from perdure.engine.core.transitions import TRANSITIONS
from perdure.engine.language.evaluate.sizes import LEVELS_MAX
from perdure.engine.runtime.processing.processor import PENDING_MAX
from perdure.engine.services.access import SCOPES
from perdure.engine.services.event_log import PAGE_BYTES_MAX
from perdure.engine.services.known_keys import KNOWN_MAX
from perdure.engine.services.starting import PROCESS_ID_MAX

PAGE = (Path(__file__).parents[2] / "api" / "CONTRACT.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of the table in a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def line_of(route: Route) -> list[str]:
    marks = ("I" if "Idempotency-Key" in route.headers else "") + ("P" if route.tells_position else "")
    marks += ("E" if route.is_of_one else "") + ("M" if route.changes is not None else "")
    refusals = ", ".join(f"`{code}`" for code in sorted(route.refusals))
    return [
        f"`{route.method} {route.path}`",
        {None: "none", ANY_KEY: "any key"}.get(route.scope, f"`{route.scope}`"),
        marks,
        refusals,
    ]


def test_every_route_is_in_the_page() -> None:
    """With its scope, its marks and its refusals; and none that there is not."""
    shown = rows("Routes")
    assert shown[:-2] == [line_of(route) for route in ROUTES]
    assert [row[0] for row in shown[-2:]] == [f"`GET {METRICS}`", "`GET /`"]
    made = {f"{route.method} {route.path}" for route in ROUTES if route.status != 200}
    schedules = "POST /v1/workflows/{id}/schedules"
    things = {"POST /v1/workflows", schedules, f"{schedules}/{{schedule_id}}/run-now", "POST /v1/keys"}
    runs = {"POST /api/v1/workflows", "POST /api/v1/workflows/{id}/run", "POST /v1/workflows/{id}/execute"}
    service = {f"POST /api/v1/services/workflows/{path}" for path in ("workflows", "workflows/{id}/run")}
    assert made == {*things, *runs, *service, "POST /v1/bulk"}


def test_every_code_is_in_the_page() -> None:
    """With its status; and no code is named anywhere that there is not."""
    assert [(row[0].strip("`"), int(row[1])) for row in rows("Errors")] == list(STATUS.items())
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+|CONFLICT|UNAUTHORIZED|FORBIDDEN|UNAVAILABLE)`", PAGE))
    assert named == set(STATUS)


def test_every_scope_is_in_the_page() -> None:
    """In the order of the code."""
    assert [row[0].strip("`") for row in rows("Authentication")] == list(SCOPES)


def test_every_status_of_a_run_is_in_the_page() -> None:
    """But `new`, which nobody sees."""
    statuses = {status for status, _ in TRANSITIONS} - {"new"}
    told = PAGE.split("A run's `status` is")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", told)) == statuses


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    """Limits, as they are written there."""
    for number, words in (
        (WRONG_MAX, "After {} wrong keys"),
        (KNOWN_MAX, "The {:,} keys"),
        (bodies.DEPTH_MAX, "more than {} levels"),
        (LEVELS_MAX, "{} levels |"),
        (KEY_MAX, "1 to {} printable ASCII"),
        (PROCESS_ID_MAX, "{} printable characters"),
        (routing.PARAMETERS_MAX, "parameters of a query | {} |"),
        (HOLD_MAX_S, "seconds, 0 to {},"),
        (HOLD_DEFAULT_MS // 1000, "(default {}); answered"),
        (connections.HEAD_BYTES_MAX // 1024, "headers | {} KiB"),
        (paging.LIMIT_DEFAULT, "1 to 30, default {}."),
        (fields.EVENTS_DEFAULT, "1 to 1,000, default {};"),
        (PAGE_BYTES_MAX // 1024**2, "at most {} MiB of text"),
        (PENDING_MAX, "not on disk | {:,} |"),
    ):
        assert words.format(number) in PAGE, words
