"""Bodies: what is JSON and what is not, told with its place; and nothing of what is refused is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perdure.api.app import ROUTES
from perdure.api.http.json_body import DEPTH_MAX, IN_LOOP_MAX, json_of, parse
from perdure.api.openapi import document
from perdure.api.settings import Settings
from perdure.engine.errors import Invalid
from tests.api.conftest import ENDING, KEY, PROCESS, Api, Start
from tests.api.fuzzing import rows_of
from tests.api.hostile.cases import BROKEN, SOUND

HOSTILE: list[tuple[bytes, str]] = [
    (b"{", "line 1, column 2"),
    (b'{"a": 1,}', "line 1"),
    (b'{"a":\n 1 2}', "line 2"),
    (b"{'a': 1}", "line 1"),
    (b'{"a": 01}', "line 1"),
    (b'{"a": .5}', "line 1"),
    (b'{"a": +1}', "line 1"),
    (b'{"a": 0x1}', "line 1"),
    (b'{"a": "\n"}', "line 1"),
    (b'{"a": "\\x41"}', "line 1"),
    (b'{"a": 1} {"b": 2}', "line 1"),
    (b"\xef\xbb\xbf{}", "utf-8-sig"),
    (b'{"a": "\xff"}', "not UTF-8: byte 7"),
    (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
    ("{}".encode("utf-16"), "not UTF-8"),
    (b'{"a": [1, {"b": NaN}]}', "/a/1/b: NaN"),
    (b'{"a": Infinity}', "/a: Infinity"),
    (b'{"a": -Infinity}', "/a: -Infinity"),
    (b'{"a": 1e999}', "/a: the number '1e999' is out of range"),
    (b'{"a": {"b": 1, "b": 1}}', "/a: the member 'b' stands twice"),
    (b'{"a": 1, "\\u0061": 2}', "the body: the member 'a' stands twice"),
    (b'{"a": "\\ud800"}', "/a: the text"),
    (b'{"a": "\\udc00\\ud800"}', "/a: the text"),
    (b'{"x": {"\\ud800": 1}}', "/x: the text"),
    (b'{"a": ' + b"9" * 5_000 + b"}", "more than 4300 digits"),
    (b'{"a": ' + b"[" * 65 + b"]" * 65 + b"}", "nested deeper than 64"),
    (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper than 64"),
    (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "nested deeper than 64"),
    (b"[" * 500_000, "nested deeper than 64"),
    (b"[1]", "a JSON list"),
    (b'"{}"', "a JSON text"),
    (b"null", "JSON null"),
    (b"7", "the JSON value 7"),
    (b"true", "the JSON value true"),
    (b"\x00", "line 1"),
]


@pytest.mark.parametrize(("body", "says"), HOSTILE, ids=[str(i) for i in range(len(HOSTILE))])
async def test_what_is_no_json_object_is_refused(api: Api, body: bytes, says: str) -> None:
    """400 in words that name the place, and no run is started."""
    workflow_id = await api.workflow(ENDING)
    response = await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "VALIDATION_ERROR"
    assert says in response.json()["message"]
    assert len(response.text) < 400
    assert (await api.ok("GET", f"{PROCESS}/getOrganizationExecutions"))["count"] == 0


@pytest.mark.parametrize(
    "value",
    [
        {"a": 2**64, "b": -(2**70), "c": 10**4000},
        {"a": 1.5e300, "b": 5e-324, "c": -0.0, "d": 1e22},
        {"": {"": []}, "a/b~c": "\u0000\u2028\U0001f600"},
        {"text": "[" * 500 + "{" * 500},
        {"a": [[[]]] * 100},
    ],
)
async def test_what_is_json_is_kept_as_it_is(api: Api, value: dict[str, Any]) -> None:
    """Large integers, all characters, empty names: what is read back is what was sent."""
    workflow_id = await api.workflow(ENDING)
    item = await api.item(workflow_id, await api.trigger(workflow_id, value))
    assert item["workflow_input_payload"] == value


async def test_escaped_pairs_of_surrogates_are_characters(api: Api) -> None:
    """Only half a pair is none."""
    workflow_id = await api.workflow(ENDING)
    execution_id = await api.trigger(workflow_id, content=b'{"a": "\\ud83d\\ude00"}')
    assert (await api.item(workflow_id, execution_id))["workflow_input_payload"] == {"a": "😀"}


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def test_nesting_ends_at_64() -> None:
    """64 levels are read, 65 are not."""
    assert parse(nested(DEPTH_MAX)) is not None
    with pytest.raises(Invalid, match="deeper than 64"):
        parse(nested(DEPTH_MAX + 1))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_every_json_value_is_read_as_the_log_reads_it(value: Any) -> None:
    """What goes in is what the engine's own reader makes of the same text."""
    text = msgspec.json.encode(value)
    assert parse(text) == msgspec.json.decode(text)


@given(
    st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ud8e019.-+NaInfinity truefalse', max_size=40).map(str.encode)
)
def test_bytes_are_read_or_refused(raw: bytes) -> None:
    """Whatever they are, nothing else happens; and what is read can be written."""
    try:
        value = parse(raw)
    except Invalid:
        return
    msgspec.json.encode(value)


@given(
    st.binary(max_size=60)
    | st.text(alphabet="{}[]&*!|>'\"%@`?:-,# \t\r\nab~10.e_\\ux\x85\u2028\ufeff\ud800", max_size=40).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    ),
    st.booleans(),
)
def test_yaml_is_read_or_refused(raw: bytes, is_in_c: bool) -> None:
    """Whatever the bytes are, nothing else happens, and what is read is JSON; with PyYAML's C library and without."""
    with pytest.MonkeyPatch.context() as patch:
        if not is_in_c:
            patch.delattr(yaml, "CSafeLoader", raising=False)
        try:
            text = json_of(raw, 1_000)
        except Invalid:
            return
    assert parse(text) == msgspec.json.decode(text)


# --- content types -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/problem+json",
        "",
        ' application/json;charset="utf-8"',
    ],
)
async def test_json_goes_by_its_names(api: Api, content_type: str) -> None:
    """Any spelling of a JSON type is read, and none at all."""
    workflow_id = await api.workflow(ENDING)
    await api.trigger(workflow_id, headers={"Content-Type": content_type}, content=b"{}")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "json",
        "x",
    ],
)
async def test_another_type_is_415(api: Api, content_type: str) -> None:
    """A body that says that it is something else is not read as JSON; where there is no body nothing is said."""
    workflow_id = await api.workflow(ENDING)
    url = f"{PROCESS}/triggerworkflow/{workflow_id}"
    response = await api.post(url, headers={"Content-Type": content_type}, content=b"{}")
    assert response.status_code == 415
    assert response.json()["error"]["code"] == "VALIDATION_ERROR"
    assert "application/json" in response.json()["message"] or "UTF-8" in response.json()["message"]
    assert (await api.post(url, headers={"Content-Type": content_type})).status_code == 200


# --- YAML --------------------------------------------------------------------------------------------------------

APPROVAL_YAML = """
# An approval.
name: approval
definition: &approval
  StartAt: Ask
  States:
    Ask: {Type: Task, Resource: wait_for_resume, End: true}
"""
YAML_TYPES = [
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "Text/YAML; charset=UTF-8",
    "application/vnd.perdure+yaml",
]


@pytest.mark.parametrize("content_type", YAML_TYPES)
async def test_a_definition_may_be_sent_as_yaml(api: Api, content_type: str) -> None:
    """What is stored is what its JSON would be."""
    sent = {"headers": {"Content-Type": content_type}, "content": APPROVAL_YAML.encode()}
    made = await api.ok("POST", "/v1/workflows", **sent)
    definition = {"StartAt": "Ask", "States": {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True}}}
    assert made["data"]["definition"] == definition
    assert (await api.workflow(definition)) != made["data"]["id"]
    rows = rows_of(api.store)["WorkflowVersionRow"].values()
    assert len(rows) == 2
    assert len({row.definition for row in rows}) == 1


async def test_every_body_that_holds_a_definition_may_be_yaml(api: Api) -> None:
    """A change, what is applied by name, and one state that is tried; the document says so, and of no other body."""
    workflow_id = await api.workflow(ENDING)
    headers = {"Content-Type": "application/yaml"}
    change = b"definition: {StartAt: A, States: {A: {Type: Wait, Seconds: 7, End: true}}}"
    changed = await api.ok("PATCH", f"/v1/workflows/{workflow_id}", headers=headers, content=change)
    assert changed["data"]["definition"]["States"]["A"]["Seconds"] == 7
    applied = await api.ok("PUT", "/v1/workflows/by-name/seven", headers=headers, content=change)
    assert applied["data"]["outcome"] == "created"
    tried = b"definition: {Type: Pass, Result: {seven: 7}, End: true}"
    assert "seven" in str(await api.ok("POST", "/v1/test-state", headers=headers, content=tried))
    declared = {
        f"{method} {path}"
        for path, operations in document(ROUTES)["paths"].items()
        for method, operation in operations.items()
        if "application/yaml" in operation.get("requestBody", {}).get("content", {})
    }
    assert declared == {
        "post /v1/workflows",
        "patch /v1/workflows/{id}",
        "put /v1/workflows/by-name/{name}",
        "post /v1/test-state",
    }


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("name: a\ndefinition: [1", 400, "read as YAML: not YAML: "),
        ("name: a\nname: b", 400, "the member 'name' stands twice at line 2, column 1"),
        ("name: a\ndefinition: !!python/name:os.system x", 400, "the tag tag:yaml.org,2002:python/name:os.system"),
        ("- 1", 400, "a JSON list"),
        ("name: a\ndefinition: 7", 400, "definition: "),
        ("name: a\ndefinition: {StartAt: A, States: {A: {Type: Pass}}}", 400, "/States/A"),
        ("name: a\ndefinition: 1e999", 400, "out of range at line 2, column 13"),
        ("a: \x00", 400, "U+0000"),
        ("# nothing", 400, "one document"),
        ("a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 30 + "*a" + "]" * 30, 400, "64 levels deep at line 2"),
        ("a: &a " + "x" * 30_000 + "\nb: [" + "*a," * 1_000 + "]", 400, "more than 1048576 characters at line 2"),
        ('a: "' + "\\0" * 300_000 + '"', 413, "more than 1048576 bytes of JSON"),
        (" " * 1_048_577, 413, "longer than 1048576"),
    ],
)
async def test_yaml_is_held_to_the_rules_of_json(api: Api, body: str, status: int, says: str) -> None:
    """The same limits, also of what its anchors mean; and nothing is left."""
    response = await api.post("/v1/workflows", headers={"Content-Type": "text/yaml"}, content=body.encode())
    assert response.status_code == status
    assert says in response.json()["error"]["message"]
    assert len(response.text) < 600
    assert (await api.ok("GET", "/v1/workflows"))["data"] == []


async def test_yaml_is_not_read_elsewhere(api: Api) -> None:
    """415 says what is."""
    workflow_id = await api.workflow(ENDING)
    for content_type in YAML_TYPES:
        headers = {"Content-Type": content_type}
        response = await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", headers=headers, content=b"a: 1")
        assert response.status_code == 415
        assert response.json()["message"].endswith("is not accepted; send application/json")
    response = await api.post("/v1/workflows", headers={"Content-Type": "text/plain"}, content=b"a: 1")
    assert response.status_code == 415
    assert response.json()["error"]["message"].endswith("send application/json or application/yaml")
    response = await api.post("/v1/workflows", headers={"Content-Type": "text/yaml; charset=utf-16"}, content=b"a: 1")
    assert response.json()["error"]["message"].endswith("YAML is UTF-8")


# --- sizes -------------------------------------------------------------------------------------------------------


async def test_a_body_may_be_as_long_as_the_setting_says(start: Start) -> None:
    """Not a byte more, with its length declared or not; and nothing is recorded then."""
    api = await start(Settings(body_max_bytes=4_096))
    workflow_id = await api.workflow(ENDING)
    url = f"{PROCESS}/triggerworkflow/{workflow_id}"
    body = b'{"a": "' + b"x" * (4_096 - 9) + b'"}'
    assert (await api.post(url, content=body)).status_code == 200

    async def chunks(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 1_024):
            yield b" " * 1_024
        yield b"{}"

    assert (await api.post(url, content=chunks(2_048))).status_code == 200
    for longer in (body + b" ", chunks(4_096), chunks(1_024_000)):
        response = await api.post(url, content=longer)
        assert response.status_code == 413
        assert response.json() == {
            "message": "the body is longer than 4096 bytes, which is the most",
            "error": {"code": "PAYLOAD_TOO_LARGE", "details": {"limit": 4_096}},
        }
    assert (await api.ok("GET", f"{PROCESS}/getOrganizationExecutions"))["count"] == 2


async def test_a_mebibyte_is_the_default(api: Api) -> None:
    """A long body is read too, off the loop."""
    workflow_id = await api.workflow(ENDING)
    body = msgspec.json.encode({"a": ["x" * 1_000] * 1_040})
    assert 1_000_000 < len(body) <= 1_048_576
    assert (await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", content=body)).status_code == 200
    assert (await api.post(f"{PROCESS}/triggerworkflow/{workflow_id}", content=b" " * 1_048_577)).status_code == 413


@pytest.mark.parametrize(("key", "path"), [("nobody", "/v1/workflows"), (KEY, "/nowhere"), (KEY, "/v1/workflows?x=1")])
async def test_the_rest_of_a_body_is_dropped_before_any_refusal(api: Api, key: str, path: str) -> None:
    """So that the caller, who is still sending, can read the answer."""
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 1_024

    response = await api.post(path, key=key, content=chunks())
    assert response.is_client_error
    assert sent == 100
    assert "connection" not in response.headers


async def test_dropping_is_bounded(api: Api) -> None:
    """A body without end is given up, and the connection closed after the answer."""
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1_048_576

    response = await api.post("/nowhere", content=chunks())
    assert response.status_code == 404
    assert response.headers["connection"] == "close"
    assert sent < 40


async def test_who_waits_to_be_asked_need_not_send(api: Api) -> None:
    """A caller that expects `100 Continue` is refused before it has sent its body."""
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        sent += 1
        yield b"{}"

    response = await api.post("/v1/workflows", key="nobody", headers={"Expect": "100-continue"}, content=chunks())
    assert response.status_code == 401
    assert sent == 0


@pytest.mark.parametrize("name", [*BROKEN, *SOUND])
def test_a_long_body_is_judged_as_a_short_one(name: str) -> None:
    """Blanks around it change nothing: neither what is refused, nor what is read."""
    body = BROKEN.get(name, SOUND.get(name, b""))

    def judged(raw: bytes) -> Any:
        try:
            return repr(parse(raw))
        except Invalid:
            return Invalid

    assert judged(b" " * IN_LOOP_MAX + body) == judged(body)


def test_a_long_body_that_is_no_json_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: Python's parser, which no other thread can interrupt, never sees it."""
    monkeypatch.setattr("json.loads", lambda *_, **__: pytest.fail("it was parsed"))
    nested = b"[" * 60 + b"]" * 60 + b","
    for body, says in (
        (b"[" + nested * 8000, "it ends too early"),
        (b"[\n" + b"{}," * 300_000 + b"x]", "line 2, byte 900001"),
        (b"[" + b"NaN," * 200_000 + b"1]", "line 1, byte 2"),
        (b'["\\ud83d\\ude00",' + b"1," * 400_000, "it ends too early"),
        (b"[" * 900_000, "nested deeper"),
    ):
        with pytest.raises(Invalid, match=says):
            parse(body)
