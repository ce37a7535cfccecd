"""Approvals: answers of people, each of which ends a wait of the run.

An answer is a resume with the payload that the compiled machine makes its output of, so whoever resumes the run through
another API has answered as well. What people may do is looked at before: the wait that is named decides what becomes of
answers that race.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from perdure.engine.core import commands as c
from perdure.engine.core import ids
from perdure.engine.core.decide.resume import RESTARTED
from perdure.engine.errors import Conflict, Invalid, NotFound, WaitExpired
from perdure.engine.history.approvals import Approval, ApprovalDecision
from perdure.engine.language.instants import format_instant
from perdure.engine.runtime.callers import Caller, IdempotencyClaim, IdempotencyKey
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import ClaimConflict
from perdure.engine.services.idempotency import Answered, Idempotency
from perdure.engine.services.principals import Forbidden
from perdure.engine.services.run_records import RunRecords
from perdure.engine.services.sending import send
from perdure.engine.shown import shown

COMMENT_MAX: Final = 10_000
"""So many characters a comment has at the most."""

DECISIONS: Final[tuple[ApprovalDecision, ...]] = ("approve", "reject")

_Payload: TypeAlias = dict[str, Any]


class Decided(NamedTuple):
    """An approval as it is after an answer, which was counted once, however often it was sent."""

    approval: Approval
    position: int


class Approvals:
    """Answers to what runs ask people."""

    def __init__(self, node: NodeParts, records: RunRecords, memory: Idempotency) -> None:
        self._node = node
        self._records = records
        self._idempotency = memory

    async def decide(
        self,
        caller: Caller,
        execution_id: bytes,
        approval_id: str,
        decision: str,
        *,
        comment: str | None = None,
        by: str | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> Decided:
        """Answer an approval; who answers is the caller's user, else `by`, else the actor.

        Raises `Invalid`, `NotFound`, `Forbidden` (an approver of this name is not asked), `WaitExpired` (its time is
        over, or the run has ended), `Conflict` (it is decided; the same person has approved before).
        """
        word = _checked(decision, comment)
        who = caller.user_id or by or caller.actor

        async def attempt(claim: IdempotencyClaim | None) -> Answered | None:
            approval = await self._approval(caller, execution_id, approval_id)
            _check_approver(approval, caller.user_id)
            wait = _open_wait(approval, who)
            payload: _Payload = {
                "approved": word == "approve",
                "approvedBy": who,
                "approvedAt": format_instant(self._node.clock.now()),
                "comment": comment,
            }
            command = c.Resume(payload, wait, None, may_hold=False, is_keyed=claim is not None)
            reply = await send(self._node, caller, "execution", execution_id, command, remembered=claim)
            if isinstance(reply, ClaimConflict) or (claim is None and reply.answer != RESTARTED):
                return None  # somebody was faster: look again
            return Answered(reply.answer, execution_id, reply.position)

        answered = await self._idempotency.run_once(caller, idempotency, attempt)
        if answered.answer != RESTARTED:  # and this is what the key stands for now
            raise Conflict("somebody else answered at the same moment; look again, and send it with a new key")
        return Decided(await self._approval(caller, execution_id, approval_id), answered.position)

    async def _approval(self, caller: Caller, execution_id: bytes, approval_id: str) -> Approval:
        for approval in await self._records.approvals(caller, execution_id):
            if approval_id in approval.waits:
                return approval
        raise NotFound(f"run {ids.text(execution_id)} has no approval {shown(approval_id)}")


def _checked(decision: str, comment: str | None) -> ApprovalDecision:
    for known in DECISIONS:
        if decision == known:
            if comment is not None and len(comment) > COMMENT_MAX:
                message = f"comment: it must have at most {COMMENT_MAX:,} characters"
                raise Invalid(message, {"field": "comment"})
            return known
    message = f"decision: {shown(decision)} is not accepted; it must be one of {', '.join(DECISIONS)}"
    raise Invalid(message, {"field": "decision"})


def _check_approver(approval: Approval, user_id: str | None) -> None:
    """Refuse a person that is not asked. Who has no user id is no person: what it says is its own affair."""
    if user_id is not None and approval.approvers and user_id not in approval.approvers:
        message = f"user {shown(user_id)} is not among those who are asked to approve"
        raise Forbidden(message, {"approvers": list(approval.approvers)})


def _open_wait(approval: Approval, who: str) -> str:
    """The wait that the answer of somebody ends. Raises `WaitExpired`, `Conflict`."""
    if approval.status == "expired":
        due = "" if approval.due_at is None else f" at {format_instant(approval.due_at)}"
        raise WaitExpired(f"this approval expired{due}", {"status": "expired"})
    if approval.status == "cancelled":
        raise WaitExpired("this approval was cancelled: the run went on or ended without it", {"status": "cancelled"})
    if approval.status != "pending":
        last = approval.answers[-1]
        by = "" if last.by is None else f" by {last.by}"
        raise Conflict(f"this approval was {approval.status}{by} already", {"status": approval.status})
    if any(answer.by == who for answer in approval.answers):
        message = (
            f"{who} has approved this already; it takes {approval.required} different people, "
            f"of whom {len({answer.by for answer in approval.answers})} have"
        )
        raise Conflict(message, {"status": approval.status, "required": approval.required})
    if approval.open_wait is None:
        raise Conflict("the run is paused, and does not ask for the next answer yet", {"status": approval.status})
    return approval.open_wait
