"""Compiles a document of the service API to Amazon States Language.

Its steps are `{step_type, step_config}` (or `{type, config}`), in order. They have no ids: the first is `step_1`. A
step that makes a summary must be followed by one that delivers it; that one's text is the summary if it has none of its
own, and `{{ summary }}` in it stands for the output of the last summary before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.formats.assembly import assemble, refuse_unreached
from perdure.engine.language.formats.build import BuildOptions
from perdure.engine.language.formats.flow import NEXT, ActionForm, CompiledDocument, FlowStep, StepFlow
from perdure.engine.language.formats.members import Members, members_of
from perdure.engine.language.formats.step_members import error_plan, step_timeout, step_type
from perdure.engine.language.values import Json, shown

STEPS_MAX: Final = 50
NAME_MAX: Final = 120
DESCRIPTION_MAX: Final = 500

_DOCUMENT: Final = (
    "name",
    "steps",
    "description",
    "trigger_type",
    "cron_expression",
    "schedule",
    "timezone",
    "status",
    "visibility",
    "shared_user_ids",
    "shared_role_ids",
)
_STEP: Final = ("step_type", "step_config", "type", "config", "errorHandling", "retryConfig", "timeoutMs")
_FLAT: Final = frozenset({"condition", "loop", "parallel"})
_CRON_FIELDS: Final = 5
_SUMMARY: Final = "summary"


def compile_service(
    document: object,
    *,
    actions: Mapping[str, ActionForm],
    has_credentials: bool = False,
    is_standalone: bool = False,
) -> CompiledDocument:
    """Compile a document of the service API.

    `document`: decoded, or as JSON text.
    `actions`: what a step can do.
    `has_credentials`: whether `credentials.NAME` may stand in templates.
    `is_standalone`: whether the definition stands alone, with times in whole seconds.

    Raises DocumentError, with every problem that is found; nothing else, whatever it is given.
    """
    diagnostics = Diagnostics()
    members = members_of(document, diagnostics, "a document")
    comment = _check_document(members)
    steps = _paired(_steps(members, actions, diagnostics), actions, diagnostics)
    flow = StepFlow(steps[0].id if steps else None, tuple(_linked(steps)))
    refuse_unreached(flow, diagnostics, "what comes before it ends the run")
    options = BuildOptions(actions, has_credentials=has_credentials, is_standalone=is_standalone)
    return assemble(flow, options, diagnostics, comment=comment)


def _check_document(members: Members) -> str | None:
    """Check what stands beside the steps; give the description."""
    members.check(_DOCUMENT)
    members.needed_text("name", most=NAME_MAX)
    trigger = members.one_of("trigger_type", ("schedule", "manual"), "schedule")
    _check_schedule(members, trigger)
    members.text("timezone", most=100)
    members.one_of("status", ("active", "paused"), "active")
    visibility = members.one_of("visibility", ("private", "tenant", "shared"), "tenant")
    for name in ("shared_user_ids", "shared_role_ids"):
        if members.texts(name) and visibility != "shared":
            members.refuse(name, "belongs to the visibility shared")
    return members.text("description", most=DESCRIPTION_MAX)


def _check_schedule(members: Members, trigger: str) -> None:
    given = [name for name in ("cron_expression", "schedule") if members.get(name) is not None]
    if len(given) > 1:
        members.refuse("schedule", "means the same as cron_expression: give one of them")
    if trigger == "schedule" and not given:
        members.refuse("", "cron_expression is missing: a schedule needs it; or give trigger_type manual")
    for name in given:
        if trigger != "schedule":
            members.refuse(name, "belongs to the trigger_type schedule")
        cron = members.text(name, most=200)
        if cron is not None and len(cron.split()) != _CRON_FIELDS:
            members.refuse(name, f"must have {_CRON_FIELDS} fields, such as 0 9 * * *")


def _steps(members: Members, actions: Mapping[str, ActionForm], diagnostics: Diagnostics) -> list[FlowStep]:
    source, pointer = members.get("steps"), members.pointer / "steps"
    if type(source) is not list or not 0 < len(source) <= STEPS_MAX:
        diagnostics.add(pointer, f"must be a list of 1 to {STEPS_MAX} steps")
        return []
    found = (_step(item, pointer / index, index + 1, actions, diagnostics) for index, item in enumerate(source))
    return [step for step in found if step is not None]


def _step(
    source: Json, pointer: JsonPointer, number: int, actions: Mapping[str, ActionForm], diagnostics: Diagnostics
) -> FlowStep | None:
    if type(source) is not dict:
        diagnostics.add(pointer, "a step must be an object {step_type, step_config}")
        return None
    members = Members(source, pointer, diagnostics)
    members.check(_STEP, " of a step; what its type takes stands in step_config")
    names = [_either(members, first, second) for first, second in (("step_type", "type"), ("step_config", "config"))]
    config = members.inner(names[1])
    found = step_type(members, config, actions, names[0])
    if found is None:
        return None
    if found.kind in _FLAT:
        members.refuse(
            names[0], f"{shown(found.kind)} holds other steps, which this form cannot: write steps or a graph"
        )
        return None
    held = {"action"} if members.get(names[0]) == "action" else set[str]()
    return FlowStep(
        id=f"step_{number}",
        kind=found.kind,
        action=found.action,
        pointer=pointer,
        config={name: value for name, value in config.source.items() if name not in held},
        config_pointer=config.pointer,
        errors=error_plan(members, found.kind, diagnostics),
        timeout_ms=step_timeout(members),
    )


def _either(members: Members, first: str, second: str) -> str:
    """Give the name of two that a member goes by."""
    if first in members and second in members:
        members.refuse(second, f"means the same as {first}: give one of them")
    return second if second in members and first not in members else first


def _paired(steps: list[FlowStep], actions: Mapping[str, ActionForm], diagnostics: Diagnostics) -> list[FlowStep]:
    """Let the steps that deliver carry the summaries before them; a summary that nobody delivers is a problem."""
    paired: list[FlowStep] = []
    waiting: list[FlowStep] = []
    last: FlowStep | None = None
    for step in steps:
        form = actions.get(step.action)
        if form is not None and form.is_summary:
            waiting.append(step)
            last = step
        elif form is not None and form.delivers and last is not None:
            step = _carrying(step, form, waiting, last)  # noqa: PLW2901 the same step, which carries more
            waiting = []
        paired.append(step)
    for step in waiting:
        message = f"step {shown(step.action)} makes a summary: send_email or create_notification must follow it"
        diagnostics.add(step.pointer, message)
    return paired


def _carrying(step: FlowStep, form: ActionForm, waiting: Sequence[FlowStep], last: FlowStep) -> FlowStep:
    config = dict(step.config)
    if waiting and form.text_field and config.get(form.text_field) is None:
        config[form.text_field] = "\n\n".join(f"{{{{ steps.{summary.id} }}}}" for summary in waiting)
    return msgspec.structs.replace(step, config=config, aliases={_SUMMARY: last.id})


def _linked(steps: Sequence[FlowStep]) -> list[FlowStep]:
    following: list[str | None] = [*(step.id for step in steps[1:]), None]
    return [
        msgspec.structs.replace(step, ways={} if step.kind == "terminate" else {NEXT: onward})
        for step, onward in zip(steps, following[: len(steps)], strict=True)
    ]
