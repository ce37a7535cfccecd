"""Steps in a sandbox: those that may change something outside are not called, but answered from the mock payload.

That a run is in a sandbox stands in its first event, so a step is simulated again after a crash, and when it is tried
again. A version's mock payload says what comes of its steps under `steps`, by the name of the state or the id of the
step; what it does not say is an empty success.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perdure.engine.core import ids
from perdure.engine.core.state import State
from perdure.engine.log.codec import decode_json
from perdure.engine.steps import Step, StepContext
from perdure.engine.steps.catalog import LOG, TRANSFORM
from perdure.engine.steps.http_action import HTTP_REQUEST
from perdure.store.protocols import Catalog
from perdure.store.records import WorkflowVersionRow

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HARMLESS: Final = frozenset({TRANSFORM.name, LOG.name})


def has_effects(step: Step, given: Any) -> bool:
    """Whether a call of a step may change something outside: any may but requests that read, and what only computes."""
    if step.name == HTTP_REQUEST.name:
        members = given if isinstance(given, Mapping) else {}
        return str(members.get("method", members.get("Method", "GET"))).upper() not in _READING
    return step.name not in _HARMLESS and step.has_effects


class SandboxSteps:
    """Stands in for the steps that a run in a sandbox must not call."""

    def __init__(self, store: Catalog) -> None:
        self._store = store

    def instead_of(self, step: Step, given: Any, state: State) -> Step | None:
        """The step that is called in place of one; null: it is called itself."""
        if state.live is None or not has_effects(step, given):
            return None

        async def simulated(given: Any, context: StepContext) -> Any:
            version = await self._store.workflow_version(ids.parse(state.workflow), state.workflow_version)
            if version is None:
                message = "the version that the run is of is not there"
                raise RuntimeError(message)
            mocked = _mocked(version)
            for name in (context.state, _step_id(version, context.state)):
                if name in mocked:
                    return mocked[name]
            return _empty_success(step, given)

        return Step(step.name, simulated, is_async=True, wants_context=True)


def _mocked(version: WorkflowVersionRow) -> dict[str | None, Any]:
    """What a version's mock payload says of its steps, by name."""
    mock = None if version.mock_payload is None else decode_json(version.mock_payload)
    steps = mock.get("steps") if isinstance(mock, dict) else None
    return steps if isinstance(steps, dict) else {}


def _step_id(version: WorkflowVersionRow, state: str) -> str | None:
    """The id of the step that a state works for, in the document that the definition was compiled from."""
    outline = {} if version.outline is None else decode_json(version.outline)
    found = outline.get("states", {}).get(state)
    return found if isinstance(found, str) else None


def _empty_success(step: Step, given: Any) -> Any:
    """The least that a step gives if it succeeds: of a request an answer without a body."""
    if step.name != HTTP_REQUEST.name:
        return {}
    if isinstance(given, Mapping) and "ApiEndpoint" in given:
        return {"StatusCode": 200, "StatusText": "OK", "Headers": {}, "ResponseBody": None}
    return {"status": 200, "headers": {}, "body": None}
