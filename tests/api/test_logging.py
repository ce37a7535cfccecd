"""The log's lines: one event is one line, whatever callers write into it."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import structlog

from perdure.api.logging import configure

NASTY = 'a\nb\r\x1b[31mred\x00\x9b\u2028c"\ud800'


def lines(log_format: str, write: Any) -> list[str]:
    out = io.StringIO()
    configure(log_format, out)
    write(structlog.get_logger("perdure.test"))
    return out.getvalue().removesuffix("\n").split("\n")


@pytest.mark.usefixtures("root_logger")
def test_a_line_is_a_json_object() -> None:
    """With time, level, event, logger, what is bound and what is said."""

    def write(logger: Any) -> None:
        with structlog.contextvars.bound_contextvars(request_id="r-1"):
            logger.info("request", status=200, text=NASTY, value={"a": [1, NASTY]}, raw=b"x", odd=object())
        logger.debug("not_said")

    (line,) = lines("json", write)
    said = json.loads(line)
    assert said["event"] == "request"
    assert (said["level"], said["logger"], said["request_id"], said["status"]) == ("info", "perdure.test", "r-1", 200)
    assert said["at"].endswith("Z")
    assert said["text"].startswith("a\nb\r\x1b[31mred\x00")


@pytest.mark.usefixtures("root_logger")
def test_a_line_for_people_is_one_line_too() -> None:
    """Control characters are shown, not sent to the terminal."""
    (line,) = lines("console", lambda logger: logger.warning("request", text=NASTY, name="x y", value=[NASTY]))
    assert "request" in line
    assert "\\n" in line
    assert 'name="x y"' in line
    assert not any(character < " " or "\x7f" <= character < "\xa0" for character in line)


@pytest.mark.usefixtures("root_logger")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_is_told(log_format: str) -> None:
    """As a member of the object; or in lines of its own, behind a bar, which no text can leave."""

    def write(logger: Any) -> None:
        try:
            int("x\n2026-01-01 info forged")
        except ValueError as error:
            error.add_note("y\n2026-01-01 info forged")
            logger.exception("failed")

    found = lines(log_format, write)
    assert "ValueError" in "\n".join(found)
    if log_format == "json":
        assert "Traceback" in json.loads(found[0])["exception"]
        assert len(found) == 1
    else:
        assert all(line.startswith("    | ") for line in found[1:])


@pytest.mark.usefixtures("root_logger")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_what_others_log_goes_the_same_way(log_format: str) -> None:
    """From warnings on, with the name of their logger."""

    def write(_: Any) -> None:
        logging.getLogger("somebody").info("not said")
        logging.getLogger("somebody").warning("said %s", NASTY)

    (line,) = lines(log_format, write)
    assert "somebody" in line
    assert "said a\\nb" in line


@pytest.mark.usefixtures("root_logger")
def test_nobody_reading_is_no_error() -> None:
    """A closed stream does not fail who logs."""
    out = io.StringIO()
    configure("json", out)
    out.close()
    structlog.get_logger("perdure.test").info("request")
