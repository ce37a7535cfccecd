"""Compiles a flow: builds it once to learn what is read, and once more to keep that and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import pairwise
from operator import truediv

from perdure.engine.language.diagnostics import Diagnostics
from perdure.engine.language.errors import Problem
from perdure.engine.language.formats.build import BuildOptions, FlowBuild
from perdure.engine.language.formats.flow import CompiledDocument, DocumentError, StepFlow, outlined, steps_in
from perdure.engine.language.formats.lexemes import text_of
from perdure.engine.language.formats.lowering import lower_step
from perdure.engine.language.formats.machines import MachineBuilder, StateSource
from perdure.engine.language.formats.step_members import NO_SCHEMAS, DocumentSchemas
from perdure.engine.language.parse.definition import problems
from perdure.engine.language.values import Json, shown


def refuse_unreached(flow: StepFlow, diagnostics: Diagnostics, why: str) -> None:
    """Add a problem for each step that no way leads to, in a flow and in those in it."""
    steps = {step.id: step for step in flow.steps}
    reached: set[str] = set()
    ahead = [flow.start] if flow.start is not None else []
    while ahead:
        name = ahead.pop()
        if name not in reached and name in steps:
            reached.add(name)
            ahead += (target for target in steps[name].ways.values() if target is not None)
    for step in flow.steps:
        if step.id not in reached:
            diagnostics.add(step.pointer, f"step {shown(step.id)} cannot be reached: {why}")
        for body in step.bodies:
            refuse_unreached(body, diagnostics, why)


def assemble(
    flow: StepFlow,
    options: BuildOptions,
    diagnostics: Diagnostics,
    *,
    comment: str | None = None,
    settings: Mapping[str, Json] | None = None,
    schemas: DocumentSchemas = NO_SCHEMAS,
    warnings: tuple[Problem, ...] = (),
) -> CompiledDocument:
    """Compile a flow to a definition; one that stands alone checks no output, as the States Language cannot.

    Raises DocumentError: something is wrong, here or before.
    """
    options = options._replace(output_schema=None if options.is_standalone else schemas.output)
    first = FlowBuild(flow, options, diagnostics)
    MachineBuilder(first, lower_step).machine(flow)
    if diagnostics.problems:
        raise DocumentError(diagnostics.problems)
    build = FlowBuild(flow, options, diagnostics, first.wanted(), first.checked)
    machine = MachineBuilder(build, lower_step).machine(flow)
    _begin(build, machine, options.variables)
    definition: dict[str, Json] = {"Comment": comment} if comment else {}
    definition |= {"QueryLanguage": "JSONata", **machine}
    limit = (settings or {}).get("timeoutMs")
    if limit is not None and options.is_standalone:
        definition["TimeoutSeconds"] = options.seconds(limit)
    placing = _Placing(flow, build)
    found = [placing.anywhere(problem) for problem in problems(definition, is_compiled=not options.is_standalone)]
    found = found or placing.by_hand(definition)
    if found:
        raise DocumentError(found)
    return CompiledDocument(
        definition=definition,
        steps=outlined(flow),
        states=build.states,
        credentials=build.credentials,
        settings=settings or {},
        input_schema=schemas.input,
        output_schema=schemas.output,
        is_enveloped=options.is_enveloped,
        warnings=warnings,
    )


class _Placing:
    """Says where in the source a problem of the compiled definition stands, if the author wrote the state it is in."""

    def __init__(self, flow: StepFlow, build: FlowBuild) -> None:
        self._own = {step.id: step for step in steps_in(flow) if step.kind == "state"}
        self._states = build.states

    def in_source(self, problem: Problem) -> Problem | None:
        """Give the problem of a state of the author's with its pointer into the source; None for any other."""
        keys = [key.replace("~1", "/").replace("~0", "~") for key in problem.path.split("/")]
        for index, (before, key) in enumerate(pairwise(keys), 1):
            step = self._own.get(self._states.get(key, "")) if before == "States" else None
            if step is not None and keys[index + 1 : index + 2] != ["OutputSchema"]:
                pointer = reduce(truediv, keys[index + 1 :], step.config_pointer)
                return Problem(str(pointer), problem.message)
        return None

    def by_hand(self, definition: Json) -> list[Problem]:
        """Find what states of the author's may not hold, though what is compiled may."""
        found = problems(definition) if self._own else []
        return [problem for problem in map(self.in_source, found) if problem is not None]

    def anywhere(self, problem: Problem) -> Problem:
        """Give any problem: what is compiled is too large or too deep, if the author wrote no state."""
        message = f"what it compiles to is refused at {problem.path or '/'}: {problem.message}"
        return self.in_source(problem) or Problem("", message)


def _begin(build: FlowBuild, machine: StateSource, variables: Mapping[str, Json]) -> None:
    """Let the run begin by keeping its input and what else is read everywhere."""
    texts = {text for text, _ in build.roots}
    assigned: dict[str, Json] = {}
    if any("$run_input" in text for text in texts):
        assigned["run_input"] = "{% $states.input %}"
    if "$run_id" in texts:
        assigned["run_id"] = "{% $states.context.Execution.Id %}"
    for name in variables:
        if name in build.variables:
            assigned[build.variable_names[name]] = literal(variables[name])
    if not assigned:
        return
    name = build.unique("(begin)")
    machine["States"] = {name: {"Type": "Pass", "Assign": assigned, "Next": machine["StartAt"]}, **machine["States"]}
    machine["StartAt"] = name


def literal(value: Json) -> Json:
    """Write a value so that none of its texts is taken for an expression."""
    if type(value) is dict:
        return {name: literal(member) for name, member in value.items()}
    if type(value) is list:
        return [literal(item) for item in value]
    if type(value) is str and (value.startswith("{%") or value.endswith("%}")):
        return f"{{% {text_of(value)} %}}"
    return value
