"""The events of a run as lines for people: what happened where, by whom, and what follows."""

from __future__ import annotations

from typing import Any, Final

from perdure.cli.output import compact, readable

VALUES_MAX: Final = 200

STEP_WORDS: Final = {
    "StatePassed": "passed",
    "TaskScheduled": "called",
    "TaskSucceeded": "succeeded",
    "TaskFailed": "failed:",
    "TaskTimedOut": "timed out:",
    "WaitOpened": "waits",
    "WaitResumed": "resumed",
    "WaitExpired": "timed out:",
    "TimerSet": "sleeps,",
    "TimerFired": "awake",
    "BranchesStarted": "begun",
    "MapStarted": "begun",
    "StateExited": "ended",
    "StateFailed": "failed:",
}
"""What an event says of its step."""


class EventLines:
    """Makes lines of a run's events, from the first on: a place in a branch or iteration is known from those before."""

    def __init__(self) -> None:
        self._forks: dict[str, str] = {}
        """The path of the Parallel or Map state of each fork, by the seq that scopes name it with."""

    def line(self, event: dict[str, Any]) -> str:
        place = self._noted(event)
        payload = "" if event["payload"] is None else compact(event["payload"], VALUES_MAX)
        actor = event["actor_name"] or event["actor"]
        said = "  ".join(part for part in (_says(event), payload) if part)
        return f"{event['seq']:>5}  {readable(event['at'])}  {event['type']:<20}  {place:<20}  {actor}  {said}".rstrip()

    def step_line(self, event: dict[str, Any]) -> str | None:
        """A line for who watches the steps of a run; none for an event that is about none."""
        place = self._noted(event)
        word = STEP_WORDS.get(event["type"])
        if word is None:
            return None
        said = "  ".join(part for part in (word, _says(event)) if part)
        return f"{readable(event['at'])}  {place:<20}  {said}".rstrip()

    def _noted(self, event: dict[str, Any]) -> str:
        """Where it happened; a fork is remembered for what happens in it."""
        place = self._place(event["data"])
        if event["type"] in {"BranchesStarted", "MapStarted"}:
            self._forks[str(event["seq"])] = place
        return place

    def _place(self, data: dict[str, Any]) -> str:
        """Where it happened: `Each[12]/Fetch` is the state Fetch in iteration 12 of the Map state Each."""
        state = data.get("state") or ""  # as it stands there: an event of a newer program can be shown too
        seq, _, index = str(data.get("scope", "")).partition(".")
        if not seq:
            return state
        around = f"{self._forks.get(seq, '?')}[{index}]"
        # The event of an iteration names the Map state itself.
        return around if "index" in data else f"{around}/{state}"


def _says(event: dict[str, Any]) -> str:
    """What the event comes to, in words; nothing where its type says it all."""
    data = event["data"]
    parts = [_what(event["type"], data), _error(event), _attempt(data), _then(event["type"], data)]
    return ", ".join(part for part in parts if part)


def _what(kind: str, data: dict[str, Any]) -> str:
    if kind == "CommandRefused":
        return f"{data['command']} refused: {data['code']} (refusal {data['count']})"
    if kind == "StatePassed" and data.get("type") == "Choice":
        return "by its default" if data.get("rule") is None else f"by rule {data['rule']}"
    if kind in {"WaitExpired", "TaskTimedOut"}:
        return "no heartbeat came in time" if data.get("limit") == "heartbeat" else "its time is over"
    if kind == "ResultIgnored":
        return f"it {data.get('outcome')} after its state was left"
    if kind == "TaskInterrupted":
        return f"cut off by the end of the process, {data.get('deaths')} uncleanly so far"
    return f"due at {readable(data['due_at'])}" if kind == "TimerSet" else ""


def _error(event: dict[str, Any]) -> str:
    """The error's name; the cause stands in the payload."""
    data = event["data"]
    if "error" in data:
        return str(data["error"])
    seq, _, name = str(data.get("error_ref", "")).partition("/")
    own = event["payload"] if seq == str(event["seq"]) else None
    return str((own or {}).get(name, "")) if name else ""


def _attempt(data: dict[str, Any]) -> str:
    """Which attempt it is about, unless it is the first."""
    return f"attempt {data['attempt'] + 1}" if data.get("attempt") else ""


def _then(kind: str, data: dict[str, Any]) -> str:
    """What follows."""
    then = data.get("then")
    if then is None:
        failed = {"TaskFailed", "TaskTimedOut", "WaitExpired", "StateFailed"}
        return "nothing catches it" if kind in failed else f"→ {data['next']}" if data.get("next") else ""
    if then["type"] == "retry":
        return f"next attempt at {readable(then['due_at'])}"
    return f"caught → {then['next']}"
