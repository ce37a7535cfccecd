"""Compiles a document of steps in a list, as the runs API has it, to Amazon States Language.

The order of the list is the order of the steps. A condition names the steps of its two ways by their ids, or holds
them; those that it names stand right behind it in the list, each runs only if its way is taken, and both ways go on
with the first step behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.formats.assembly import assemble, refuse_unreached
from perdure.engine.language.formats.build import BuildOptions
from perdure.engine.language.formats.flow import (
    FALSE,
    NEXT,
    TRUE,
    ActionForm,
    CompiledDocument,
    FlowStep,
    StepFlow,
)
from perdure.engine.language.formats.members import Members, members_of
from perdure.engine.language.formats.names import unknown
from perdure.engine.language.formats.step_members import (
    ID_MAX,
    error_plan,
    schemas_of,
    settings_of,
    step_timeout,
    step_type,
    trigger_of,
)
from perdure.engine.language.values import Json, shown

STEPS_MAX: Final = 1_000
"""Steps of a document, those in loops and branches included."""

_DOCUMENT: Final = (
    "name",
    "description",
    "trigger",
    "steps",
    "variables",
    "inputSchema",
    "outputSchema",
    "settings",
)
_STEP: Final = ("id", "type", "name", "action", "config", "errorHandling", "retryConfig", "timeoutMs")
_HELD: Final[Mapping[str, tuple[str, ...]]] = {
    "condition": ("then", "else"),
    "loop": ("steps",),
    "parallel": ("branches",),
    "action": ("action",),
}
"""The members of a config that hold other steps, or say what the step is."""

_ENDED: Final = "what comes before it ends the run"


def compile_steps(
    document: object,
    *,
    actions: Mapping[str, ActionForm],
    has_credentials: bool = False,
    is_standalone: bool = False,
) -> CompiledDocument:
    """Compile a document `{name, description, trigger, steps, variables, inputSchema, outputSchema, settings}`.

    `document`: decoded, or as JSON text.
    `actions`: what a step of type action can do.
    `has_credentials`: whether `credentials.NAME` may stand in templates.
    `is_standalone`: whether the definition says itself how long a run may take; else the workflow's settings do.

    Raises DocumentError, with every problem that is found; nothing else, whatever it is given.
    """
    diagnostics = Diagnostics()
    members = members_of(document, diagnostics, "a document")
    members.check(_DOCUMENT)
    members.needed_text("name", most=255)
    comment = members.text("description")
    trigger = trigger_of(members, diagnostics)
    schemas = schemas_of(members)
    settings = settings_of(members)
    flow = StepListReader(actions, diagnostics).flow(members.get("steps"), JsonPointer() / "steps")
    refuse_unreached(flow, diagnostics, _ENDED)
    options = BuildOptions(
        actions, members.object("variables") or {}, has_credentials, trigger == "webhook", is_standalone
    )
    return assemble(flow, options, diagnostics, comment=comment, settings=settings, schemas=schemas)


class _Listed(NamedTuple):
    """A step of a list before its place is known; `then` and `other` are the ways of a condition, as written."""

    step: FlowStep
    then: Json = None
    other: Json = None


class _Placed(NamedTuple):
    """A step in its place, with those of its two ways."""

    step: FlowStep
    then: tuple[_Placed, ...] = ()
    other: tuple[_Placed, ...] = ()


class StepListReader:
    """Reads lists of steps; ids are unique in all that one of these reads."""

    def __init__(self, actions: Mapping[str, ActionForm], diagnostics: Diagnostics) -> None:
        self._actions = actions
        self._diagnostics = diagnostics
        self._ids: set[str] = set()

    def flow(self, source: Json, pointer: JsonPointer) -> StepFlow:
        """Read a list of steps to a flow of their own."""
        steps: list[FlowStep] = []
        start = _linked(self._placed(source, pointer), None, steps)
        return StepFlow(start, tuple(steps))

    def _placed(self, source: Json, pointer: JsonPointer) -> tuple[_Placed, ...]:
        if type(source) is not list or not source:
            self._diagnostics.add(pointer, "must be a list of one or more steps")
            return ()
        listed: list[_Listed] = []
        for index, item in enumerate(source):
            if self._diagnostics.is_full:
                break
            if len(self._ids) >= STEPS_MAX:
                self._diagnostics.add(pointer / index, f"a document has at most {STEPS_MAX} steps")
                break
            found = self._listed(item, pointer / index)
            if found is not None:
                listed.append(found)
        return self._arranged(listed)

    # --- one step ----------------------------------------------------------------------------------------------------

    def _listed(self, source: Json, pointer: JsonPointer) -> _Listed | None:
        step = self.step(source, pointer, pointer / "config")
        if step is None:
            return None
        config = source.get("config")
        if step.kind == "condition" and type(config) is dict:
            return _Listed(step, config.get("then"), config.get("else"))
        return _Listed(step)

    def step(self, source: Json, pointer: JsonPointer, config_pointer: JsonPointer) -> FlowStep | None:
        """Read one step, without the steps that it names; None, with problems, if it is none."""
        if type(source) is not dict:
            self._diagnostics.add(pointer, "a step must be an object")
            return None
        members = Members(source, pointer, self._diagnostics)
        members.check(_STEP, " of a step; what its type takes stands in config")
        name = self.taken_id(members)
        config = Members(members.object("config") or {}, config_pointer, self._diagnostics)
        found = step_type(members, config, self._actions)
        if found is None or not name:
            return None
        if "action" in members and members.get("type") != "action":
            members.refuse("action", "belongs to steps of type action")
        if "connectionId" in config and found.kind == "action":
            config.refuse("connectionId", "connectionId is not supported yet: it needs connections")
        held = _HELD.get(found.kind, ())
        if members.get("type") == "action":
            held = (*held, "action")
        return FlowStep(
            id=name,
            kind=found.kind,
            action=found.action,
            name=members.text("name", most=255),
            pointer=pointer,
            config={key: value for key, value in config.source.items() if key not in held},
            config_pointer=config_pointer,
            errors=error_plan(members, found.kind, self._diagnostics),
            timeout_ms=step_timeout(members),
            bodies=self._bodies(found.kind, config),
        )

    def taken_id(self, members: Members) -> str:
        """Read an id that nobody has, and take it; empty, with a problem, if there is none."""
        name = members.needed_text("id", most=ID_MAX)
        if name in self._ids:
            members.refuse("id", f"another step has the id {shown(name)}")
            return ""
        if name:
            self._ids.add(name)
        return name

    def _bodies(self, kind: str, config: Members) -> tuple[StepFlow, ...]:
        if kind == "loop":
            return (self.flow(config.get("steps"), config.pointer / "steps"),)
        if kind != "parallel":
            return ()
        branches, pointer = config.get("branches"), config.pointer / "branches"
        if type(branches) is not list or not branches:
            self._diagnostics.add(pointer, "must be a list of one or more branches, each a list of steps")
            return ()
        return tuple(self.flow(branch, pointer / index) for index, branch in enumerate(branches))

    # --- the ways of conditions --------------------------------------------------------------------------------------

    def _arranged(self, listed: Sequence[_Listed]) -> tuple[_Placed, ...]:
        """Put the steps that conditions name into their ways."""
        placed: list[_Placed] = []
        at = 0
        while at < len(listed):
            found = listed[at]
            at += 1
            if found.step.kind != "condition":
                placed.append(_Placed(found.step))
                continue
            then, other = self._named(found, "then"), self._named(found, "else")
            while then and other and then[-1] == other[-1]:  # both ways lead there anyway
                del then[-1], other[-1]
            end = self._end_of_ways(listed, at, {*then, *other})
            ways = self._split(found, listed[at:end], then, other)
            at = end
            inner = [self._arranged(way) for way in ways]
            for index, name in enumerate(("then", "else")):
                inner[index] = (*inner[index], *self._held(found, name))
            placed.append(_Placed(found.step, inner[0], inner[1]))
        return tuple(placed)

    def _named(self, found: _Listed, name: str) -> list[str]:
        """Give the ids that one way of a condition names."""
        given, pointer = self._way(found, name)
        if type(given) is str:
            return [given]
        if given is None or (type(given) is list and all(type(item) is dict for item in given)):
            return []
        if type(given) is list and all(type(item) is str for item in given):
            return list(dict.fromkeys(given))
        self._diagnostics.add(pointer, "must be a list of ids of steps, or a list of steps")
        return []

    def _held(self, found: _Listed, name: str) -> tuple[_Placed, ...]:
        """Read the steps that one way of a condition holds."""
        given, pointer = self._way(found, name)
        is_held = type(given) is list and given and all(type(item) is dict for item in given)
        return self._placed(given, pointer) if is_held else ()

    @staticmethod
    def _way(found: _Listed, name: str) -> tuple[Json, JsonPointer]:
        return (found.then if name == "then" else found.other), found.step.config_pointer / name

    def _end_of_ways(self, listed: Sequence[_Listed], at: int, owned: set[str]) -> int:
        """Find the first step behind those that a condition names, and those that conditions among them name."""
        while at < len(listed) and listed[at].step.id in owned:
            for given in (listed[at].then, listed[at].other):
                names = [given] if type(given) is str else given
                if type(names) is list:
                    owned |= {name for name in names if type(name) is str}
            at += 1
        return at

    def _split(
        self, condition: _Listed, block: Sequence[_Listed], then: list[str], other: list[str]
    ) -> tuple[list[_Listed], list[_Listed]]:
        """Sort the steps behind a condition into its two ways."""
        ways: dict[str, list[_Listed]] = {"then": [], "else": []}
        by_id = {**dict.fromkeys(then, "then"), **dict.fromkeys(other, "else")}
        for name in then:
            if name in other:
                self._refuse(condition, "else", f"step {shown(name)} stands in then as well")
        inherited: dict[str, str] = {}
        for found in block:
            way = by_id.get(found.step.id) or inherited.get(found.step.id, "then")
            ways[way].append(found)
            for given in (found.then, found.other):
                names = [given] if type(given) is str else given
                for name in names if type(names) is list else ():
                    if type(name) is str:
                        inherited[name] = way
        self._check_named(condition, block, then, other)
        return ways["then"], ways["else"]

    def _check_named(self, condition: _Listed, block: Sequence[_Listed], then: list[str], other: list[str]) -> None:
        present = [found.step.id for found in block]
        for word, names in (("then", then), ("else", other)):
            missing = [name for name in names if name not in present]
            for name in missing:
                if name not in self._ids:
                    self._refuse(condition, word, unknown("step", name, self._ids))
                else:
                    where = "must stand right behind the condition, in the same list"
                    self._refuse(condition, word, f"step {shown(name)} {where}")
            if not missing and sorted(names, key=present.index) != names:
                self._refuse(condition, word, "names its steps in another order than that of the list")

    def _refuse(self, condition: _Listed, word: str, message: str) -> None:
        self._diagnostics.add(condition.step.config_pointer / word, message)


def _linked(placed: Sequence[_Placed], after: str | None, steps: list[FlowStep]) -> str | None:
    """Add the steps with the ways between them; give the id of the first, or of what comes after if there is none."""
    following = [*(each.step.id for each in placed[1:]), after]
    for each, onward in zip(placed, following, strict=True) if placed else ():
        place = len(steps)
        steps.append(each.step)
        ways: dict[str, str | None] = {NEXT: onward}
        if each.step.kind == "condition":
            ways = {TRUE: _linked(each.then, onward, steps), FALSE: _linked(each.other, onward, steps)}
        elif each.step.kind == "terminate":
            ways = {}
        steps[place] = msgspec.structs.replace(each.step, ways=ways)
    return placed[0].step.id if placed else after
