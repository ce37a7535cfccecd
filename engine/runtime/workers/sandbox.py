"""Steps in a sandbox: those that may change something outside are not called, but answered from the mock payload.

That a run is in a sandbox stands in its first event, so a step is simulated again after a crash, and when it is tried
again. A version's mock payload says what comes of its steps under `steps`, by the name of the state or the id of the
step; what it does not say is an empty success.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from perdure.engine.core import ids
from perdure.engine.core.state import State
from perdure.engine.log.codec import decode_json
from perdure.engine.steps import Step, StepContext
from perdure.engine.steps.actions import Action, action_of
from perdure.store.protocols import Catalog
from perdure.store.records import WorkflowVersionRow


class SandboxSteps:
    """Stands in for the steps that a run in a sandbox must not call."""

    def __init__(self, store: Catalog, actions: Iterable[Action]) -> None:
        self._store = store
        self._actions = {action.step: action for action in actions}

    def instead_of(self, step: Step, given: Any, state: State) -> Step | None:
        """The step that is called in place of one; null: it is called itself."""
        action = self._actions.get(step.name) or action_of(step)
        if state.live is None or not action.changes(given):
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
            return action.empty_success(given)

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
