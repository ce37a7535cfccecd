"""Compiles a flow: builds it once to learn what is read, and once more to keep that and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

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
    found = problems(definition, is_compiled=not options.is_standalone) or _by_hand(flow, build, definition)
    if found:  # it is too large or too deep for a definition
        raise DocumentError(
            [Problem("", f"what it compiles to is refused at {at}: {said}") for at, said in found_in(found)]
        )
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


def _by_hand(flow: StepFlow, build: FlowBuild, definition: Json) -> list[Problem]:
    """Find what states that the author has written themselves may not hold, though what is compiled may."""
    own = {step.id for step in steps_in(flow) if step.kind == "state"}
    return [problem for problem in problems(definition) if own.intersection(_steps_at(problem, build))] if own else []


def _steps_at(problem: Problem, build: FlowBuild) -> set[str]:
    """Name the steps whose states a pointer into the definition passes, but for a check of the output."""
    keys = [key.replace("~1", "/").replace("~0", "~") for key in problem.path.split("/")]
    return set() if "OutputSchema" in keys else {build.states.get(key, "") for key in keys}


def found_in(found: list[Problem]) -> list[tuple[str, str]]:
    """Give pointers and messages of problems in a definition."""
    return [(problem.path or "/", problem.message) for problem in found]


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
