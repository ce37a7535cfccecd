"""Requests and answers about many runs: found by filter, counted, and changed in bulk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.resource.fields import CursorText, PagePlaced
from perdure.api.dialects.schemas import Count, Instant, Number, RunStatus, Shape, TriggerType, Version
from perdure.api.dialects.status_words import RESOURCE_WORDS
from perdure.api.http.paging import LIMIT_DEFAULT, PageNumber, WideLimit
from perdure.api.validation import Request, Uuid
from perdure.engine.core.pause_events import Quota
from perdure.engine.errors import Invalid
from perdure.engine.services.bulk import REASON_MAX
from perdure.engine.services.bulk_actions import ACTIONS
from perdure.engine.services.run_filters import BY_NAME, FILTERS, STATUSES, Filter, Sort
from perdure.engine.shown import shown
from perdure.engine.suggestions import did_you_mean

ExecutionStatus: TypeAlias = Literal["pending", "running", "completed", "failed"]
DETAIL: Final = "status_detail"
FIELD_OF: Final[Mapping[str, str]] = {name: f"{name}_" if name == "from" else name for name in (*BY_NAME, DETAIL)}
"""The member of a query that has a filter: words of Python's cannot be one."""


_WORDS: Final = ", ".join(RESOURCE_WORDS.accepted)
_ONE: Final = f"({'|'.join(RESOURCE_WORDS.accepted)})"
API_FILTERS: Final = (
    *(
        each._replace(
            words="Only runs with this status, as it is shown or in detail; several are separated by commas.",
            accepts=f"one or several of {_WORDS}",
            schema={"pattern": f"^{_ONE}(,{_ONE})*$"},
        )
        if each.name == "status"
        else each
        for each in FILTERS
    ),
    BY_NAME["status"]._replace(
        name=DETAIL, words="Only runs with this `status_detail`; several are separated by commas. Not with `status`."
    ),
)
"""The filters as this API has them: `status` in its own words, and ours by another name."""


def _text_of(each: Filter) -> Any:
    meta = msgspec.Meta(description=each.words, extra={"accepts": each.accepts}, extra_json_schema=dict(each.schema))
    return Annotated[str, meta] | None


class Sorted(Request, frozen=True):
    """A page of runs, and its order: by its number, or beyond a cursor, which may be sent as `after`, too."""

    sort: Sort = "newest"
    limit: WideLimit = LIMIT_DEFAULT
    page: PageNumber | None = None
    cursor: CursorText | None = None
    after: Annotated[str, msgspec.Meta(max_length=128)] | None = None


RunsQuery: Final = msgspec.defstruct(
    "RunsQuery",
    [(FIELD_OF[each.name], _text_of(each), None) for each in API_FILTERS],
    bases=(Sorted,),
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={field: name for name, field in FIELD_OF.items()},
    namespace={"__doc__": "A page of the runs that all the filters let through."},
    module=__name__,
)


RunsOfWorkflowQuery: Final = msgspec.defstruct(
    "RunsOfWorkflowQuery",
    [(FIELD_OF[each.name], _text_of(each), None) for each in API_FILTERS if each.name != "workflow_id"],
    bases=(Sorted,),
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={field: name for name, field in FIELD_OF.items()},
    namespace={"__doc__": "A page of a workflow's runs that all the filters let through."},
    module=__name__,
)


def filters_of(query: Any, within: str = "") -> dict[str, str]:
    """The filters that a query gives, by name, as the engine has them; `within` is said before their names.

    Raises `Invalid`, naming the field.
    """
    given = {name: getattr(query, field, None) for name, field in FIELD_OF.items()}
    found = {
        name: ",".join(text) if isinstance(text, list) else text for name, text in given.items() if text is not None
    }
    detail = found.pop(DETAIL, None)
    if detail is not None and "status" in found:
        field = f"{within}{DETAIL}"
        message = f"{field}: it cannot be sent together with status, which takes the same words, and this API's own"
        raise Invalid(message, {"field": field})
    if detail is not None:
        return {**found, "status": _words_of_ours(detail, f"{within}{DETAIL}")}
    if "status" not in found:
        return found
    return {**found, "status": RESOURCE_WORDS.meant(found["status"], field=f"{within}status")}


def _words_of_ours(text: str, field: str) -> str:
    """Statuses in our words, separated by commas. Raises `Invalid`."""
    for word in text.split(","):
        if word not in STATUSES:
            near, names = did_you_mean(word, STATUSES), ", ".join(STATUSES)
            message = f"{field}: {shown(word)} is not accepted; it must be one or several of {names}.{near}"
            raise Invalid(message, {"field": field})
    return text


class PauseOfRun(Shape, frozen=True):
    """The pause that a run is in. `quota` is used up, null: an operator did it; `quiescent`: nothing is `in_flight`."""

    since: Instant
    quota: Quota | None
    in_flight: Number
    quiescent: bool


class RunFound(Shape, frozen=True):
    """A run. `error` is a reserved name, or one that the definition has; any other is in the run's events.

    `id` is `execution_id`, `started_at` is `created_at`, and `completed_at` is `ended_at`, however it ended.
    `status_detail`: our word, which is one of several for a `status`.
    """

    id: Uuid
    execution_id: Uuid
    process_id: str
    workflow_id: Uuid
    workflow_name: str | None
    workflow_version: Version
    status: ExecutionStatus
    status_detail: RunStatus
    state: str | None
    trigger: TriggerType
    error: str | None
    started_at: Instant
    completed_at: Instant | None
    created_at: Instant
    modified_at: Instant
    modified_by: str | None
    ended_at: Instant | None
    parent_execution_id: Uuid | None
    pause: PauseOfRun | None


class AfterCursor(PagePlaced, frozen=True, kw_only=True):
    """`after`, and `next_cursor`: what asks for the next page, if there may be more. A page may be short, or empty.

    `total_is_exact`: else there are more than `total`, and they were too many to be counted.
    """

    after: str | None
    total_is_exact: bool | UnsetType = UNSET


class CountsQuery(Request, frozen=True):
    """The workflow whose runs are counted; without one all are."""

    workflow_id: Uuid | None = None


class WorkflowTotals(Shape, frozen=True):
    """The number of runs of a workflow, in all and by status."""

    workflow_id: Uuid
    workflow_name: str | None
    total: Count
    by_status: dict[RunStatus, Count]


class RunTotals(Shape, frozen=True):
    """The number of runs, in all, by status and by workflow."""

    total: Count
    by_status: dict[RunStatus, Count]
    by_workflow: list[WorkflowTotals]


# --- bulk ------------------------------------------------------------------------------------------------------------


def _member_of(each: Filter) -> Any:
    """The member of a filter object: a text, or of those that take several, a list of them."""
    return _text_of(each) | list[str] if each.is_many else _text_of(each)


RunFilters: Final = msgspec.defstruct(
    "RunFilters",
    [(FIELD_OF[each.name], _member_of(each), None) for each in API_FILTERS],
    bases=(Request,),
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={field: name for name, field in FIELD_OF.items()},
    namespace={
        "__doc__": "The runs that are meant: those that all the filters let through, as `GET /v1/executions` has them."
    },
    module=__name__,
)

BulkReason: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_MAX)]


class NewBulk(Request, frozen=True):
    """A command for all runs that match. `payload`, of a resume, is what each of them gets."""

    action: Annotated[
        str,
        msgspec.Meta(extra={"accepts": " or ".join(map(repr, ACTIONS))}, extra_json_schema={"enum": list(ACTIONS)}),
    ]
    filter: RunFilters  # type: ignore[valid-type]
    reason: BulkReason | None = None
    payload: Any = UNSET
    dry_run: bool = False


class StopReason(Request, frozen=True):
    """The reason why a job is stopped."""

    reason: BulkReason | None = None


class BulkListed(Shape, frozen=True):
    """A bulk job. `expected` is the number of runs that matched at its start, null if they were too many to be counted.

    Of those that had their turn it has changed something in `done`, had nothing to change in `unchanged`, and was
    refused by `failed`, by code in `failed_by_code`. `why`: `asked`, or `key_ended`, if it was stopped.
    """

    id: Uuid
    action: str
    status: Literal["running", "stopping", "stopped", "completed"]
    expected: Count | None
    done: Count
    unchanged: Count
    failed: Count
    failed_by_code: dict[str, Count]
    why: Literal["asked", "key_ended"] | None
    created_at: Instant
    created_by: str
    modified_at: Instant
    ended_at: Instant | None


class BulkFailure(Shape, frozen=True):
    """A run that refused the command."""

    execution_id: Uuid
    code: str
    message: str


class BulkWhole(BulkListed, frozen=True):
    """A bulk job with its order, and the first runs that refused."""

    filter: dict[str, str]
    reason: str | None
    failures: list[BulkFailure]


class BulkAsked(Shape, frozen=True, kw_only=True):
    """The job that was started, or with `dry_run` none: then it has no `id` and no `status`.

    `matching` is the number of runs that match now. If it is not exact there are more, or, of a job, it is null.
    """

    id: Uuid | UnsetType = UNSET
    status: Literal["running", "stopping", "stopped", "completed"] | UnsetType = UNSET
    dry_run: bool
    action: str
    matching: Count | None
    is_exact: bool


class BulkQuery(Request, frozen=True):
    """A page of bulk jobs, newest first; `after` is the last job's id before it."""

    limit: WideLimit = LIMIT_DEFAULT
    after: Uuid | None = None
