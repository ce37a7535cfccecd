"""Evaluation contexts: the context object, variables, time and random bytes that a decision's expressions read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.refs import below, seq_of
from perdure.engine.core.state import TOP, fork_and_index, open_wait
from perdure.engine.language import Environment, HandlingState, context_object, format_instant
from perdure.engine.language.values import MISSING, Json, Missing


class MapItem(NamedTuple):
    """The item of a Map state that an iteration is for."""

    number: int
    value: Any


# But for the input everything is looked up when an expression asks for it, and not before: most states look at nothing
# else, and what is not asked for need not be loaded.
class ScopeContext(msgspec.Struct, eq=False):
    """The `EvaluationContext` of the expressions of a scope's state.

    `wait` is about to be opened, with its `token`, or the iteration for `item` to begin.
    """

    draft: ExecutionDraft
    scope: str
    wait: str | None = None
    token: str | None = None
    item: MapItem | None = None

    @property
    def now_ms(self) -> int:
        """The instant of the decision: an expression sees no other time."""
        return self.draft.facts.now

    @property
    def expression_timeout_s(self) -> float | None:
        """Seconds of real time that an expression may still take; null if as long as it takes."""
        timeout_s = self.draft.facts.expression_timeout_s
        return None if timeout_s is None else timeout_s()

    def random_bytes(self, count: int) -> bytes:
        """So many random bytes: the same ones if the decision is made again."""
        return self.draft.facts.random_bytes(count)

    def variable(self, name: str) -> Json | Missing:
        """The value of a variable as this scope sees it: its own, else that of the nearest scope around it."""
        reference = self.draft.variable(self.scope, name)
        return MISSING if reference is None else self.draft.value(reference)

    def context(self) -> dict[str, Any]:
        """The context object. Raises `engine.core.refs.PayloadMissing` if the execution's input is not loaded."""
        draft, execution = self.draft, self.draft.state
        trial = draft.facts.trial
        if trial is not None and trial.context is not None:
            return trial.context
        names = draft.facts.names
        item = self.item or _item(draft, self.scope)
        return context_object(
            execution={
                "Id": names.get("execution_id", draft.facts.execution),
                "Input": draft.value(execution.input),
                "Name": names.get("execution_name") or started_with(draft).get("process_id", draft.facts.execution),
                "RedriveCount": execution.redrives,
                "RoleArn": names.get("role_arn", ""),
                "StartTime": format_instant(execution.started_at),
            },
            state=self._state(),
            state_machine={
                "Id": names.get("state_machine_id", execution.workflow),
                "Name": names.get("state_machine_name", execution.workflow),
            },
            task=None if self.token is None else {"Token": self.token},
            item=None if item is None else {"Index": item.number, "Value": item.value},
        )

    def _state(self) -> dict[str, Any]:
        """The member `State` of the context object.

        It has the state's name, when it was entered, and how often it was tried again if it can be.
        """
        frame = self.draft.state.frames[self.scope]
        entered: dict[str, Any] = {
            "Name": frame.state,
            "EnteredTime": format_instant(frame.entered_at),
        }
        if isinstance(self.draft.state_of(self.scope), HandlingState):
            entered["RetryCount"] = frame.attempt
        wait = open_wait(frame.phase) or self.wait
        if wait is not None:
            entered["WaitId"] = wait
        return entered


def _item(draft: ExecutionDraft, scope: str) -> MapItem | None:
    """The item of the iteration that a scope is in, the innermost one."""
    while scope != TOP:
        seq, index = fork_and_index(scope)
        fork = draft.state.forks[seq]
        if fork.items is not None:
            return MapItem(index, draft.value(below(fork.items, index)))
        scope = fork.scope
    return None


def started_with(draft: ExecutionDraft) -> Mapping[str, Any]:
    """The payload of the first event: the input, and what stands beside it."""
    seq = seq_of(draft.state.input)
    draft.value(draft.state.input)  # so that the payload is there
    payloads = draft.payloads if seq in draft.payloads else draft.facts.payloads
    found: Mapping[str, Any] = payloads[seq]
    return found


def environment(draft: ExecutionDraft, scope: str, scope_context: ScopeContext | None = None) -> Environment:
    """The environment of the state that a scope is in."""
    reference = draft.state.frames[scope].input
    found = Environment(scope_context or ScopeContext(draft, scope), draft.value(reference))
    trial = draft.facts.trial
    if trial is not None:
        found.trace = trial.trace
    return found
