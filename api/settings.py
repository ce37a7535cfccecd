"""Settings: a flag, else an environment variable, else the default. An error says which of these a value came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import inspect as types

from perdure.api.validation import accepts, from_text, members
from perdure.engine.core.decision import (
    EVENTS_MAX,
    PAYLOAD_MAX,
    RUN_BYTES_MAX,
    RUN_PAYLOADS_MAX,
    TRANSITIONS_MAX,
    TRANSITIONS_PER_S_MAX,
)
from perdure.engine.limits import (
    CHILD_DEPTH_MAX,
    COMMIT_STALL_MS,
    STEP_THREADS,
    STEPS_MAX,
    WORKFLOW_OPEN_RUNS_MAX,
    Limits,
)
from perdure.engine.suggestions import did_you_mean
from perdure.store.protocols import WriterPlace

PREFIX: Final = "PERDURE_"
BODY_MAX_BYTES: Final = 1024 * 1024
SOURCES: Final = ("SAP", "TEAMS")
KEY_MIN: Final = 16
KEY_MAX: Final = 255


class SettingError(Exception):
    """A setting cannot be used; the message names it, its value, where that came from, and what is accepted."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a server. Each has a flag (`--body-max-bytes`) and a variable (`PERDURE_BODY_MAX_BYTES`)."""

    host: Annotated[str, msgspec.Meta(min_length=1, extra={"accepts": "a host name or address"})] = "127.0.0.1"
    """The address to listen on."""

    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8080
    """The port to listen on; 0 takes a free one."""

    database: Annotated[str, msgspec.Meta(min_length=1, extra={"accepts": "a URL such as sqlite:///runs.db"})] = (
        "sqlite:///perdure.db"
    )
    """Where the log is: `sqlite:///PATH`."""

    steps: Annotated[str, msgspec.Meta(min_length=1, extra={"accepts": "MODULE:REGISTRY"})] | None = None
    """The registry of your own steps."""

    writer: WriterPlace = "process"
    """Where commits are made: in a process of its own, or in a thread of the server's."""

    log_format: Literal["json", "console"] = "json"
    """A JSON object a line, or text for people."""

    metrics: Literal["key", "open"] = "key"
    """Who may read `/metrics`: a key with the scope operator, or everybody."""

    allow_private_addresses: bool = False
    """Whether `http_request` may call private and local addresses."""

    body_max_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1024**3)] = BODY_MAX_BYTES
    """The longest body of a request that is taken, in bytes."""

    connections_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    """So many connections are open at once; of more, those that are idle make room."""

    receive_timeout_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 20
    """Seconds that the head of a request may take to come, and then its body."""

    steps_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = STEPS_MAX
    """So many async steps run at once."""

    step_threads: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = STEP_THREADS
    """So many plain steps run at once, each in a thread."""

    payload_max_bytes: Annotated[int, msgspec.Meta(ge=1024, le=PAYLOAD_MAX)] = PAYLOAD_MAX
    """The most JSON text that a value of a run may have, in bytes."""

    run_payloads_max_bytes: Annotated[int, msgspec.Meta(ge=PAYLOAD_MAX, le=2**40)] = RUN_PAYLOADS_MAX
    """The most JSON text that all values together have that a run holds at once, in bytes."""

    resume_sources: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[^\s,\x00-\x1f\x7f]+(,[^\s,\x00-\x1f\x7f]+)*\Z",
            extra={"accepts": "names, separated by commas, such as SAP,TEAMS"},
        ),
    ] = ",".join(SOURCES)
    """Who may be the `source` of a resume by the process API."""

    commit_stall_ms: Annotated[int, msgspec.Meta(ge=100, le=3_600_000)] = COMMIT_STALL_MS
    """While a commit takes longer, in milliseconds, readiness says so, and nothing new is taken in."""

    run_events_max: Annotated[int, msgspec.Meta(ge=100, le=1_000_000_000)] = EVENTS_MAX
    """A run that has so many events is paused."""

    run_bytes_max: Annotated[int, msgspec.Meta(ge=1024, le=2**40)] = RUN_BYTES_MAX
    """A run whose events have so many bytes of JSON text is paused."""

    run_transitions_per_s_max: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = TRANSITIONS_PER_S_MAX
    """A run that enters so many states a second, over a minute, is paused."""

    workflow_open_runs_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = WORKFLOW_OPEN_RUNS_MAX
    """While a workflow has so many runs that have not ended, no further one is started."""

    transitions_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = TRANSITIONS_MAX
    """So many states a run passes in a row before others have their turn."""

    child_depth_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = CHILD_DEPTH_MAX
    """So deep children are nested in children."""

    bootstrap_key: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=rf"^[!-~]{{{KEY_MIN},{KEY_MAX}}}\Z",
                extra={"accepts": f"{KEY_MIN} to {KEY_MAX} ASCII characters without spaces"},
            ),
        ]
        | None
    ) = None
    """The first key of an empty database. From the environment only: arguments can be seen by other users."""

    @property
    def sources(self) -> list[str]:
        """The names in `resume_sources`."""
        return self.resume_sources.split(",")

    @property
    def limits(self) -> Limits:
        """The limits of the engine."""
        return Limits(**{name: getattr(self, name) for name in Limits.__struct_fields__})


KINDS: Final = {field.encode_name: field.type for field in members(Settings)}

SECRET: Final = frozenset({"bootstrap_key"})


CLIENT: Final = frozenset({"PERDURE_SERVER", "PERDURE_KEY"})
"""What only the commands of a client read."""


def unknown(environment: Mapping[str, str]) -> list[str]:
    """Warnings about environment variables with our prefix that are not settings."""
    known = {f"{PREFIX}{name.upper()}" for name in KINDS} | CLIENT
    strange = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    return [f"{name}: there is no such setting; it is ignored.{did_you_mean(name, known)}" for name in strange]


def load(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """The settings that flags and environment make; a flag or variable that is null or empty counts as absent.

    Raises `SettingError`.
    """
    values: dict[str, Any] = {}
    for name, kind in KINDS.items():
        flag, variable = f"--{name.replace('_', '-')}", f"{PREFIX}{name.upper()}"
        for value, source in ((flags.get(name), flag), (environment.get(variable), variable)):
            if value is not None and value != "":
                values[name] = _checked(name, kind, value, source)
                break
    return Settings(**values)


def _checked(name: str, kind: types.Type, value: Any, source: str) -> Any:
    try:
        return getattr(msgspec.convert({name: from_text(value, kind)}, Settings), name)
    except msgspec.ValidationError:
        shown = "its value" if name in SECRET else repr(value)
        message = (
            f"{name}: {shown} (from {source}) is not accepted; it must be {accepts(kind).removesuffix(' or null')}"
        )
        raise SettingError(message) from None
