"""Logging: structlog's lines on stdout, as JSON or for people; what others log goes the same way.

Names of events are constants, and what callers send stands in values only. JSON escapes all of it; for people control
characters are escaped before anything is printed, and the lines of a traceback are set apart by a bar, so that nobody's
text can begin a line of its own.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import msgspec
import structlog

_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\r\t"
} | {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}

LogEvent = MutableMapping[str, Any]


def configure(log_format: str, stream: TextIO | None = None) -> None:
    """Log to `stream` (stdout) as `json` or for the `console`, for the rest of the process."""
    out = stream or sys.stdout
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
    ]
    last: structlog.types.Processor = _as_json if log_format == "json" else _for_people
    structlog.configure(
        processors=[_name, *shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *names: _Lines(out, names[0] if names else None),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


class _Lines:
    """Writes finished lines."""

    def __init__(self, stream: TextIO, name: str | None) -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more: no reason to fail a request
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = log = msg


def _name(logger: Any, _method: str, event: LogEvent) -> LogEvent:
    if logger.name is not None:
        event["logger"] = logger.name
    return event


def _as_json(_logger: Any, _method: str, event: Mapping[str, Any]) -> str:
    ordered = {"at": event.get("at"), "level": event.get("level"), "event": event.get("event"), **event}
    try:
        return msgspec.json.encode(ordered, enc_hook=repr).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(_plain(ordered), enc_hook=repr).decode()


def _for_people(_logger: Any, _method: str, event: LogEvent) -> str:
    at, level, said = event.pop("at", ""), event.pop("level", ""), _plain(event.pop("event", ""))
    traceback = event.pop("exception", None)
    values = " ".join(f"{name}={_shown(value)}" for name, value in event.items())
    lines = [f"{at} {level:8} {_escaped(str(said))} {values}".rstrip()]
    if traceback is not None:
        lines += [f"    | {_escaped(line)}" for line in str(traceback).split("\n")]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    escaped = _escaped(str(_plain(text)))
    return f'"{escaped}"' if " " in escaped or not escaped else escaped


def _escaped(text: str) -> str:
    return text.translate(_CONTROLS)


def _plain(value: Any) -> Any:
    """A value that can be written: half a surrogate pair, which UTF-8 has no form for, is spelled out."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {str(_plain(name)): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
