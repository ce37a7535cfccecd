"""Approvals: what a run has asked people, and what they answered, made of its waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from perdure.engine.history.step_runs import Placed, StepRun
from perdure.engine.history.timeline import Timeline, VisitWait
from perdure.engine.language.formats.flow import DocumentOutline, StepOutline

ApprovalDecision: TypeAlias = Literal["approve", "reject"]
ApprovalStatus: TypeAlias = Literal["pending", "approved", "rejected", "expired", "cancelled"]


class ApprovalAnswer(NamedTuple):
    """One answer: what was decided, by whom (as the answer says, else the actor), and when. Null if erased."""

    decision: ApprovalDecision | None
    by: str | None
    at: int | None
    comment: str | None


class Approval(NamedTuple):
    """An approval of a run.

    `id`: of the first wait that was opened for it; each of `waits` names it as well.
    `open_wait`: the wait that the next answer ends; null if it is over.
    `required`: how many people must approve.
    `due_at`: when it expires at the latest, in milliseconds.
    `answers`: in the order in which they came.
    """

    id: str
    step_id: str
    title: str | None
    description: str | None
    approvers: tuple[str, ...]
    required: int
    status: ApprovalStatus
    requested_at: int
    due_at: int | None
    answers: tuple[ApprovalAnswer, ...]
    open_wait: str | None
    waits: tuple[str, ...]


def approvals_of(timeline: Timeline, outline: DocumentOutline, placed: Placed) -> tuple[Approval, ...]:
    """List the approvals of a run, in the order in which they were asked for."""
    kinds = {step.id: step for step in _all(outline.steps)}
    waits: dict[int, list[tuple[VisitWait, bool]]] = {}
    runs: dict[int, StepRun] = {}
    for visit in timeline.visits:
        if not visit.waits:
            continue
        run = placed.runs.get(id(visit))
        if run is not None and run.id in kinds and kinds[run.id].kind == "approval":
            runs[id(run)] = run
            waits.setdefault(id(run), []).extend((wait, visit.exited_at is None) for wait in visit.waits)
    return tuple(_approval(timeline, kinds[runs[key].id], found) for key, found in waits.items())


def _approval(timeline: Timeline, step: StepOutline, found: list[tuple[VisitWait, bool]]) -> Approval:
    waits = [wait for wait, _ in found]
    is_over = timeline.ending is not None
    last, is_open = found[-1]
    asked = timeline.value(last.parameters)
    shown: Mapping[str, Any] = asked if isinstance(asked, dict) else {}
    title = shown.get("title") if shown.get("title") is not None else shown.get("reason")
    approvers = shown.get("approvers")
    required = shown.get("required")
    answers = tuple(_answer(timeline, wait) for wait in waits if wait.outcome == "resumed")
    number = required if type(required) is int else 1
    is_alive = is_open and last.outcome is None
    return Approval(
        id=waits[0].id,
        step_id=step.id,
        title=None if title is None else str(title),
        description=None if shown.get("description") is None else str(shown["description"]),
        approvers=tuple(map(str, approvers)) if isinstance(approvers, list) else (),
        required=number,
        status="pending" if is_alive else _status(last, answers, number, is_over=is_over),
        requested_at=waits[0].opened_at,
        due_at=last.due_at,
        answers=answers,
        open_wait=last.id if is_alive else None,
        waits=tuple(wait.id for wait in waits),
    )


def _status(last: VisitWait, answers: tuple[ApprovalAnswer, ...], required: int, *, is_over: bool) -> ApprovalStatus:
    if last.outcome == "expired":
        return "expired"
    if last.outcome != "resumed":
        return "cancelled"
    if answers[-1].decision == "reject":
        return "rejected"
    people = {answer.by for answer in answers if answer.decision != "reject"}
    if len(people) >= required or answers[-1].decision is None:
        return "approved"
    return "cancelled" if is_over else "pending"  # paused between two answers


def _answer(timeline: Timeline, wait: VisitWait) -> ApprovalAnswer:
    given = timeline.value(wait.result)
    if not isinstance(given, dict):  # erased; or nobody's answer, which approves nothing
        is_erased = given is None
        return ApprovalAnswer(None if is_erased else "reject", None if is_erased else wait.actor, wait.ended_at, None)
    is_approved = given.get("approved") is True or given.get("decision") in ("approve", "approved")
    by, comment = given.get("approvedBy"), given.get("comment")
    return ApprovalAnswer(
        "approve" if is_approved else "reject",
        wait.actor if by is None else str(by),
        wait.ended_at,
        None if comment is None else str(comment),
    )


def _all(steps: tuple[StepOutline, ...]) -> Iterator[StepOutline]:
    for step in steps:
        yield step
        for body in step.bodies:
            yield from _all(body)
