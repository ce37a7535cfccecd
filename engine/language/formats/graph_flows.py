"""Reads the structure of a graph: which edges simply follow, and which start branches that run at once.

A node from which several edges leave by the same way forks. Its branches run up to the node where all of them meet, or
to their ends if there is none. Each branch is a machine of its own: nothing leads into it but the fork, and nothing out
of it but to where it meets the others. What is not so cannot be read as such a machine, and is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.formats.flow import NEXT, FlowStep, StepFlow
from perdure.engine.language.values import shown

NAMED_MAX: Final = 5
"""Nodes that a message names."""


class GraphReader:
    """Reads a graph to flows.

    `steps`: by id, their ways not yet known.
    `ways`: by id and way the nodes that follow; several fork.
    """

    def __init__(
        self,
        steps: Mapping[str, FlowStep],
        ways: Mapping[str, Mapping[str, Sequence[str]]],
        diagnostics: Diagnostics,
    ) -> None:
        self._steps = steps
        self._ways = ways
        self._diagnostics = diagnostics
        self._forks = 0

    def flow(self, starts: Sequence[str], at: JsonPointer) -> StepFlow:
        """Read the machine that starts with these nodes."""
        return self._region(starts, None, at, "")

    def reached(self, starts: Iterable[str], *stops: str | None) -> dict[str, None]:
        """List the nodes that are reached without passing some, in the order in which they are met."""
        found: dict[str, None] = {}
        ahead = list(reversed(list(starts)))
        while ahead:
            name = ahead.pop()
            if name in stops or name in found:
                continue
            found[name] = None
            ahead += reversed([target for targets in self._ways.get(name, {}).values() for target in targets])
        return found

    def _region(self, starts: Sequence[str], stop: str | None, at: JsonPointer, origin: str) -> StepFlow:
        """Read the machine that starts with these nodes and ends at another."""
        made: dict[str, FlowStep] = {}
        start, ahead = self._lead(starts, stop, at, origin, made)
        seen: set[str] = set()
        while ahead:
            name = ahead.pop(0)
            if name in seen or name == stop:
                continue
            seen.add(name)
            step = self._steps[name]
            ways: dict[str, str | None] = {}
            made[name] = step
            for way, targets in self._ways.get(name, {}).items():
                ways[way], more = self._lead(targets, stop, step.pointer, name, made)
                ahead = [*more, *ahead]
            made[name] = msgspec.structs.replace(step, ways=ways if ways or step.kind == "terminate" else {NEXT: None})
        return StepFlow(start, tuple(made.values()))

    def _lead(
        self, targets: Sequence[str], stop: str | None, at: JsonPointer, origin: str, made: dict[str, FlowStep]
    ) -> tuple[str | None, list[str]]:
        """Give the step to which edges lead, and what is to be read next; a fork is added to what is made."""
        inner = [target for target in targets if target != stop]
        if not inner:
            return None, []
        if len(targets) == 1:
            return inner[0], inner
        fork = self._fork(targets, stop, at, origin)
        if fork is None:
            return None, []
        made[fork.id] = fork
        after = fork.ways[NEXT]
        return fork.id, [] if after is None else [after]

    # --- forks -------------------------------------------------------------------------------------------------------

    def _fork(self, targets: Sequence[str], stop: str | None, at: JsonPointer, origin: str) -> FlowStep | None:
        self._forks += 1
        join, problem = self._join(targets, stop, origin)
        if problem:
            self._diagnostics.add(at, problem)
            return None
        starts = [target for target in targets if target not in (join, stop)]
        regions = [self.reached([target], join, stop) for target in starts]
        if not self._are_apart(targets, join, regions, at, origin):
            return None
        ends = join if join is not None else stop
        bodies = tuple(self._region([target], ends, at, origin) for target in starts)
        name = f"{origin or 'start'} (branches{f' {self._forks}' if self._forks > 1 else ''})"
        return FlowStep(
            id=name,
            kind="parallel",
            name="branches",
            pointer=at,
            config={},
            config_pointer=at,
            bodies=bodies,
            ways={NEXT: join},
        )

    def _join(self, targets: Sequence[str], stop: str | None, origin: str) -> tuple[str | None, str]:
        """Find the node where all branches meet first; None if they end apart."""
        reaches = [self.reached([target], stop, origin) for target in targets]
        shared = [name for name in reaches[0] if all(name in reach for reach in reaches)]
        for candidate in shared:
            rest = [self.reached([target], stop, origin, candidate) for target in targets]
            if not any(all(name in reach for reach in rest) for name in shared if name != candidate):
                return candidate, ""
        if shared:
            return None, f"the branches meet in several places, {named(shared)}: let all of them meet in one node"
        return None, ""

    def _are_apart(
        self,
        targets: Sequence[str],
        join: str | None,
        regions: Sequence[Mapping[str, None]],
        at: JsonPointer,
        origin: str,
    ) -> bool:
        """Check that no two branches share a node, and that nothing jumps into one."""
        before = self._diagnostics.count
        place: dict[str, int] = {}
        if any(origin in region for region in regions):
            self._diagnostics.add(at, f"a branch leads back to {shown(origin)}, from which it starts")
            return False
        for index, region in enumerate(regions):
            twice = [name for name in region if name in place]
            if twice:
                where = f" before all meet in {shown(join)}" if join is not None else ""
                message = f"some branches, but not all, meet in {named(twice)}{where}: let all meet there, or none"
                self._diagnostics.add(at, message)
                return False
            place |= dict.fromkeys(region, index)
        for name, ways in self._ways.items():
            for target in (target for found in ways.values() for target in found):
                is_own = name == origin and target in targets
                if target in place and place.get(name) != place[target] and not is_own:
                    message = f"leads into a branch that starts at {shown(origin or 'the trigger')}, at {shown(target)}"
                    self._diagnostics.add(self._steps[name].pointer if name in self._steps else at, message)
        return self._diagnostics.count == before


def named(names: Sequence[str]) -> str:
    """Name nodes for a message."""
    listed = ", ".join(shown(name) for name in names[:NAMED_MAX])
    return listed if len(names) <= NAMED_MAX else f"{listed} and {len(names) - NAMED_MAX} more"


def circles(ways: Mapping[str, Sequence[str]]) -> list[str]:
    """List the nodes of a circle that nothing leads out of by choice; none if there is no such circle."""
    left = {name: set(targets) for name, targets in ways.items()}
    while True:  # what leads nowhere is on no circle
        ended = [name for name, targets in left.items() if not targets & left.keys()]
        if not ended:
            break
        for name in ended:
            del left[name]
    if not left:
        return []
    path: list[str] = []
    name = next(iter(left))
    while name not in path:
        path.append(name)
        name = next(target for target in ways[name] if target in left)
    return path[path.index(name) :]
