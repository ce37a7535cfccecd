"""Mocked results of Task states in a simulation, written in JSON.

One form for `perdure simulate --mock` and for Python. A mock is an object from the name of a Task state to what that
gives; a step, a wait, a task token and a child execution are answered alike:

    {"receipt": 7}                                      the result itself, any JSON value but what follows
    {"result": [7]}                                     an outcome: the result, whatever it looks like
    {"error": "Card.Declined", "cause": "no money"}     an outcome: the failure; `cause` may be left out
    [{"error": "Bank.Busy"}, {"result": 7}]             an outcome for each attempt, the last for all further ones

What looks like an outcome and is none is refused: a misspelt one would else be taken for a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from perdure.engine.language import parse_resource
from perdure.engine.steps.values import NotJson, ValueTooLarge, json_copy
from perdure.engine.suggestions import did_you_mean
from perdure.engine.testing.answers import Answer, Failed, Succeeded, TaskRequest, Unanswered

MockedOutcome: TypeAlias = Succeeded | Failed

ACCEPTED: Final = (
    'a result, {"result": …}, {"error": …, "cause": …}, or a list of such outcomes, one an attempt: '
    '[{"error": "Bank.Busy"}, {"result": 7}]'
)
_MEMBERS: Final = ({"result"}, {"error"}, {"error", "cause"})
_RESULT_MAX: Final = 64 * 1024 * 1024
"""Bytes of JSON text; what a run makes of a result that is too large for it is the run's to say."""
_WORDS: Final = frozenset({"result", "error", "cause"})


class BadMock(ValueError):
    """A mock has a wrong form, or names a state that calls nothing."""


class NotMocked(LookupError):
    """A step was called, or a child started, for which the mock has no outcome. `request` is the call."""

    def __init__(self, request: TaskRequest) -> None:
        super().__init__(f"state {request.state!r} calls {request.resource!r}, and nothing says what that gives")
        self.request = request


class Mock:
    """Answers the requests of a run from such an object. Raises `BadMock`.

    `definition` is the machine that it is for: every name must be that of one of its Task states.
    """

    def __init__(self, given: Any, definition: Mapping[str, Any] | None = None) -> None:
        if not isinstance(given, Mapping):
            raise BadMock("a mock must be a JSON object from the names of Task states to what they give")
        if definition is not None:
            _check_names(given, list(_tasks_in(definition)))
        self._outcomes = {name: _outcomes(name, value) for name, value in given.items()}

    def __call__(self, request: TaskRequest) -> Answer:
        """The answer to a request; a wait that nothing is said about is never answered. Raises `NotMocked`."""
        outcome = self.outcome(request.state, request.attempt)
        if outcome is not None:
            return outcome
        if parse_resource(request.resource).waits:
            return Unanswered()
        raise NotMocked(request)

    def outcome(self, state: str, attempt: int = 0) -> MockedOutcome | None:
        """The outcome of a state at an attempt, of which the first is 0; null if none is defined."""
        outcomes = self._outcomes.get(state)
        return None if outcomes is None else outcomes[min(attempt, len(outcomes) - 1)]


def _check_names(given: Mapping[str, Any], tasks: list[str]) -> None:
    for name in given:
        if name not in tasks:
            raise BadMock(f"there is no Task state {name!r}.{did_you_mean(name, tasks)}")


def _tasks_in(machine: Mapping[str, Any]) -> Iterator[str]:
    """The names of a valid machine's Task states, those below its Parallel and Map states too."""
    for name, state in machine["States"].items():
        if state["Type"] == "Task":
            yield name
        for part in (*state.get("Branches", ()), state.get("ItemProcessor"), state.get("Iterator")):
            if part is not None:
                yield from _tasks_in(part)


def _outcomes(name: str, given: Any) -> Sequence[MockedOutcome]:
    """The outcomes of a state's attempts."""
    if given == [] or (isinstance(given, list) and any(map(_looks_like_one, given))):
        if not given:
            raise BadMock(f"state {name!r}: an empty list has no outcome; it must be {ACCEPTED}")
        return [_outcome(name, each) for each in given]
    return [_outcome(name, given) if _looks_like_one(given) else _result(name, given)]


def _looks_like_one(value: Any) -> bool:
    """Whether somebody meant an outcome: any of its members, in whatever case."""
    return isinstance(value, dict) and any(isinstance(each, str) and each.lower() in _WORDS for each in value)


def _outcome(name: str, given: Any) -> MockedOutcome:
    if not (isinstance(given, dict) and set(given) in _MEMBERS):
        members = ", ".join(map(str, given)) if isinstance(given, dict) else type(given).__name__
        raise BadMock(f"state {name!r}: an outcome has `result`, or `error` and perhaps `cause`; this one: {members}")
    if "result" in given:
        return _result(name, given["result"])
    for member in given:
        if not isinstance(given[member], str):
            raise BadMock(f"state {name!r}: {member} must be a text")
    return Failed(given["error"], given.get("cause"))


def _result(name: str, value: Any) -> Succeeded:
    try:
        return Succeeded(json_copy(value, _RESULT_MAX))
    except (NotJson, ValueTooLarge) as problem:
        raise BadMock(f"state {name!r}: the result is {problem}; it must be {ACCEPTED}") from None
