"""What is no JSON object of the right kind: refused on every route that reads a body, and nothing of it is left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.api.settings import BODY_MAX_BYTES
from tests.api.conftest import ENDING, PROCESS, Api
from tests.api.hostile.cases import BROKEN, SOUND, TAKEN_BY_SOME
from tests.api.hostile.probing import BODIES, Probe

REFUSED = {
    **{f"n_{name}": body for name, body in BROKEN.items()},
    **{f"i_{name}": body for name, body in TAKEN_BY_SOME.items()},
}


@pytest.fixture
async def probe(api: Api) -> Probe:
    return await Probe.made(api)


@pytest.mark.parametrize("name", REFUSED)
async def test_what_we_do_not_take_is_400(probe: Probe, name: str) -> None:
    """In the envelope of the route's dialect, with a short message that says what is wrong."""
    for route in BODIES:
        response = await probe.refused(route, 400, content=REFUSED[name])
        assert len(response.text) < 600


@pytest.mark.parametrize("name", SOUND)
async def test_what_json_is_goes_in_and_comes_out(api: Api, name: str) -> None:
    """As Python's own reader understands it."""
    workflow_id = await api.workflow(ENDING)
    execution_id = await api.trigger(workflow_id, content=SOUND[name])
    assert (await api.item(workflow_id, execution_id))["workflow_input_payload"] == json.loads(SOUND[name])


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json; charset=utf-8",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/jsonx",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16le",
        "application/json, text/plain",
        "*/*",
        "json",
        ";",
        "application/",
        "\xff",
    ],
)
async def test_another_content_type_is_415(probe: Probe, content_type: str) -> None:
    """Whatever stands in the body."""
    for route in BODIES:
        await probe.refused(route, 415, content=b"{}", headers={"content-type": content_type.encode("latin-1")})


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_a_packed_body_is_415(probe: Probe, encoding: str) -> None:
    """Nothing is unpacked, so that none is larger than it is long; nor is a plain body one that says it is packed."""
    for route in BODIES:
        for body in (BROKEN["gzip"], b"{}"):
            await probe.refused(route, 415, content=body, headers={"content-encoding": encoding})


@pytest.mark.parametrize("size", [BODY_MAX_BYTES + 1, 3 * BODY_MAX_BYTES])
async def test_a_long_body_is_413(probe: Probe, size: int) -> None:
    """With its length declared or not; of spaces, of one text, of brackets."""
    for route in BODIES:
        for body in (b" " * size, b'{"a":"' + b"x" * size + b'"}', b"[" * size):
            await probe.refused(route, 413, content=body)
        await probe.refused(route, 413, content=_pieces(b" " * size))


async def test_a_body_in_pieces_is_one_body(probe: Probe) -> None:
    """Wherever it is cut, within a character too."""
    for route in BODIES:
        await probe.refused(route, 400, content=_pieces('{"é": 1,'.encode(), 1))


@pytest.mark.parametrize("length", [b"-1", b"x", b"9" * 400, b"\xb2", b"1e3", b" ", b"0x10"])
async def test_a_length_that_is_none_is_not_believed(probe: Probe, length: bytes) -> None:
    """What counts are the bytes that come; a length beyond the limit is refused before they do."""
    for route in BODIES:
        expected = 413 if length == b"9" * 400 else 400
        await probe.refused(route, expected, content=b"[1]", headers={"content-length": length})


async def test_no_body_where_one_is_needed_is_400(probe: Probe) -> None:
    """Nor are spaces one."""
    for route in BODIES:
        if not route.is_body_optional:
            for body in (b"", b" ", b"\r\n\t"):
                assert "there is no body" in (await probe.refused(route, 400, content=body)).text


async def test_a_connection_that_is_cut_leaves_nothing(probe: Probe) -> None:
    """A body that did not come to its end is none, even if what came is JSON."""
    for route in BODIES:
        before = probe.left()
        await probe.cut(route, b'{"payload": {"source": "SAP"}}')
        assert probe.left() == before


async def _pieces(body: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize(
    "payload",
    [
        None,
        True,
        7,
        "SAP",
        '{"source": "SAP"}',
        [],
        ["SAP"],
        [{"source": "SAP"}],
        {},
        {"source": None},
        {"SOURCE": "SAP"},
    ],
)
async def test_a_resume_without_a_source_is_refused(probe: Probe, payload: Any) -> None:
    """The field is named, and the wait stays open."""
    response = await probe.api.post(f"{PROCESS}/resumeWorkflow/{probe.process_id}", json={"payload": payload})
    assert response.status_code == 400
    assert response.json()["error"]["details"]["field"] in ("payload", "payload.source")
    assert len((await probe.api.ok("GET", f"/v1/waits?process_id={probe.process_id}"))["data"]) == 1
