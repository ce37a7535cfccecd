"""The context object of the States Language, which paths that start with `$$` read."""

from __future__ import annotations

from collections.abc import Mapping

from perdure.engine.language.values import Json


def context_object(
    *,
    execution: Mapping[str, Json],
    state: Mapping[str, Json],
    state_machine: Mapping[str, Json],
    task: Mapping[str, Json] | None = None,
    item: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """Build the context object, its members in the order in which AWS records them.

    `execution`: Id, Input, Name, RoleArn, StartTime and RedriveCount of the execution.
    `state`: Name and EnteredTime of the state, RetryCount once it is retried; for a wait our WaitId too.
    `state_machine`: Id and Name of the machine.
    `task`: token of a task that waits for it.
    `item`: Index and Value of the item that an iteration of a Map state is for.
    """
    context: dict[str, Json] = {
        "Execution": _plain(execution),
        "State": _plain(state),
        "StateMachine": _plain(state_machine),
    }
    if task is not None:
        context["Task"] = _plain(task)
    if item is not None:
        context["Map"] = {"Item": _plain(item)}
    return context


def _plain(members: Mapping[str, Json]) -> dict[str, Json]:
    return members if type(members) is dict else dict(members)  # a path looks names up in dicts only
