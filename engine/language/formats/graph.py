"""Compiles a graph, as the resource API has it, to Amazon States Language.

Nodes are steps, or states of Amazon States Language, or the one trigger; edges say what follows what, and by which way.
A graph of nothing but states whose edges do not fork is the definition itself, in another form (`graph_states`).
Whatever else nodes and edges hold is kept for who shows them: unless it looks like a member that is misspelt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.errors import Problem
from perdure.engine.language.formats.assembly import assemble
from perdure.engine.language.formats.build import BuildOptions
from perdure.engine.language.formats.flow import (
    APPROVED,
    ERROR,
    FALSE,
    NEXT,
    REJECTED,
    TRUE,
    ActionForm,
    CompiledDocument,
    DocumentError,
    FlowStep,
    steps_in,
)
from perdure.engine.language.formats.graph_flows import GraphReader, circles, named
from perdure.engine.language.formats.graph_nodes import GraphNode, read_node
from perdure.engine.language.formats.graph_states import (
    DEFAULT,
    RAW,
    STATE_NODES,
    TRIGGER,
    GraphEdge,
    definition_of,
    handles_of,
    relocated,
)
from perdure.engine.language.formats.members import Members, members_of
from perdure.engine.language.formats.names import unknown
from perdure.engine.language.formats.step_list import StepListReader
from perdure.engine.language.formats.step_members import schemas_of, settings_of, trigger_of
from perdure.engine.language.formats.templates import as_template
from perdure.engine.language.parse.definition import problems
from perdure.engine.language.parse.shape import read_definition
from perdure.engine.language.values import Json, shown

NODES_MAX: Final = 1_000
EDGES_MAX: Final = 5_000

_END: Final = "(end)"
"""The one state of a draft without nodes."""

_DOCUMENT: Final = (
    "name",
    "description",
    "nodes",
    "edges",
    "variables",
    "settings",
    "inputSchema",
    "outputSchema",
    "definition",
    "viewport",
)
_EDGE: Final = ("id", "source", "target", "sourceHandle", "targetHandle", "condition", "label")
_WAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "condition": (TRUE, FALSE, ERROR),
    "approval": (APPROVED, REJECTED, ERROR),
}
"""The words by which edges leave a node of a kind; any other node has ERROR."""


class _Edge(NamedTuple):
    """An edge as read: `word` is the way that it says, `expression` what must be true for it."""

    source: str
    target: str
    word: str
    expression: str
    pointer: JsonPointer


def compile_graph(
    document: object,
    *,
    actions: Mapping[str, ActionForm],
    has_credentials: bool = False,
    is_standalone: bool = False,
    is_draft: bool = False,
) -> CompiledDocument:
    """Compile a graph `{nodes, edges, variables, settings}`.

    `document`: decoded, or as JSON text.
    `actions`: what a node of type action can do.
    `has_credentials`: whether `credentials.NAME` may stand in templates.
    `is_standalone`: whether the definition says itself how long a run may take; else the workflow's settings do.
    `is_draft`: whether nodes that nothing leads to are warnings, and left out; one with no nodes at all is accepted.

    Raises DocumentError, with every problem that is found; nothing else, whatever it is given.
    """
    diagnostics = Diagnostics()
    members = members_of(document, diagnostics, "a graph")
    members.check(_DOCUMENT)
    is_blank = is_draft and members.get("nodes") == []
    nodes = {} if is_blank else _nodes(members, actions, diagnostics)
    edges = _edges(members, nodes, diagnostics)
    if diagnostics.problems:
        raise DocumentError(diagnostics.problems)
    if is_blank:
        return _blank(members, diagnostics)
    if _is_definition(nodes, edges):
        return _restored(members, nodes, edges, diagnostics)
    options = BuildOptions(actions, {}, has_credentials, is_standalone=is_standalone)
    return _compiled(members, nodes, edges, options, diagnostics, is_draft=is_draft)


def _blank(members: Members, diagnostics: Diagnostics) -> CompiledDocument:
    """Compile a draft that has no node yet: a machine that ends as soon as it begins."""
    settings, schemas = settings_of(members), schemas_of(members)
    if diagnostics.problems:
        raise DocumentError(diagnostics.problems)
    warning = Problem("/nodes", "there is no node yet: a run of it ends at once, and it cannot be published")
    return CompiledDocument(
        definition={"StartAt": _END, "States": {_END: {"Type": "Succeed"}}},
        settings=settings,
        input_schema=schemas.input,
        output_schema=schemas.output,
        warnings=(warning,),
    )


# --- reading -------------------------------------------------------------------------------------------------------


def _nodes(members: Members, actions: Mapping[str, ActionForm], diagnostics: Diagnostics) -> dict[str, GraphNode]:
    source, pointer = members.get("nodes"), members.pointer / "nodes"
    if type(source) is not list or not 0 < len(source) <= NODES_MAX:
        diagnostics.add(pointer, f"must be a list of 1 to {NODES_MAX} nodes")
        return {}
    reader = StepListReader(actions, diagnostics)
    nodes: dict[str, GraphNode] = {}
    for index, item in enumerate(source):
        node = read_node(item, pointer / index, reader, diagnostics)
        if node is None:
            continue
        if node.type == TRIGGER and any(other.type == TRIGGER for other in nodes.values()):
            diagnostics.add(pointer / index / "type", "there is another trigger: a graph has one at the most")
        nodes[node.id] = node
    return nodes


def _edges(members: Members, nodes: Mapping[str, GraphNode], diagnostics: Diagnostics) -> list[_Edge]:
    source, pointer = members.get("edges"), members.pointer / "edges"
    if source is None:
        return []
    if type(source) is not list or len(source) > EDGES_MAX:
        diagnostics.add(pointer, f"must be a list of at most {EDGES_MAX} edges")
        return []
    found = (_edge(item, pointer / index, nodes, diagnostics) for index, item in enumerate(source))
    return [edge for edge in found if edge is not None]


def _edge(source: Json, pointer: JsonPointer, nodes: Mapping[str, GraphNode], diagnostics: Diagnostics) -> _Edge | None:
    if type(source) is not dict:
        diagnostics.add(pointer, "an edge must be an object {source, target}")
        return None
    members = Members(source, pointer, diagnostics)
    _refuse_misspelt(members, _EDGE, diagnostics)
    ends = [members.needed_text(name, most=1000) for name in ("source", "target")]
    for name, end in zip(("source", "target"), ends, strict=True):
        if end and end not in nodes:
            members.refuse(name, unknown("node", end, nodes))
            return None
    if not all(ends):
        return None
    if nodes[ends[1]].type == TRIGGER:
        members.refuse("target", "nothing leads to the trigger")
        return None
    word, expression = _way(members, nodes[ends[0]])
    return _Edge(ends[0], ends[1], word, expression, pointer)


def _refuse_misspelt(members: Members, known: Sequence[str], diagnostics: Diagnostics) -> None:
    """Add a problem for each member that looks like a known one, but is none; others are for who shows them."""
    for name in members.source:
        near = "" if name in known else diagnostics.suggestion(name, known)
        if near:
            members.refuse(name, f"unknown member {shown(name)}{near}")


def _way(members: Members, node: GraphNode) -> tuple[str, str]:
    """Read by which way an edge leaves its node, and what must be true for it."""
    handle, condition, label = (members.get(name) for name in ("sourceHandle", "condition", "label"))
    if node.type in STATE_NODES:
        return _state_way(members, node), ""
    kind = "" if node.step is None else node.step.kind
    words = _WAYS.get(kind, (ERROR,))
    if type(condition) is bool:
        condition = "true" if condition else "false"
    for name, given in (("sourceHandle", handle), ("condition", condition)):
        if given is not None and type(given) is not str:
            members.refuse(name, "must be a text")
            return NEXT, ""
    for given in (handle, condition, label):
        if type(given) is str and given.lower() in words:
            return given.lower(), ""
    if type(condition) is str and condition:
        if kind != "condition":
            members.refuse("condition", "edges with a condition start from nodes of type condition")
        return "", as_template(condition)
    if kind in _WAYS and handle and "default" not in handle:
        members.refuse("sourceHandle", unknown("way", handle, words))
    return NEXT, ""


def _state_way(members: Members, node: GraphNode) -> str:
    handle = members.get("sourceHandle") or ""
    known = list(handles_of(node.source))
    if handle not in known:
        what = f"leads on by {', '.join(filter(None, known)) or 'no edge'}" if "" not in known else "has no such way"
        members.refuse("sourceHandle" if handle else "", f"a node of type {node.type} {what}")
    return handle if type(handle) is str else ""


# --- graphs of states ------------------------------------------------------------------------------------------------


def _is_definition(nodes: Mapping[str, GraphNode], edges: Sequence[_Edge]) -> bool:
    """Say whether a graph is a definition in another form."""
    ways = [(edge.source, edge.word) for edge in edges]
    is_states = all(node.type in STATE_NODES or node.type in (TRIGGER, RAW) for node in nodes.values())
    return is_states and len(set(ways)) == len(ways)


def _restored(
    members: Members, nodes: Mapping[str, GraphNode], edges: Sequence[_Edge], diagnostics: Diagnostics
) -> CompiledDocument:
    starts = [] if any(node.type == TRIGGER for node in nodes.values()) else _starts(nodes, edges)
    definition = restored_definition(members, nodes, edges, starts[0] if len(starts) == 1 else None)
    relocated(problems(definition), {name: node.config_pointer for name, node in nodes.items()}, diagnostics)
    settings, schemas = settings_of(members), schemas_of(members)
    if schemas.output is not None:
        members.refuse("outputSchema", "belongs to graphs of steps: states have no place for it; end with a step")
    if diagnostics.problems:
        raise DocumentError(diagnostics.problems)
    states = {name: name for name, node in nodes.items() if node.type != TRIGGER}
    return CompiledDocument(definition=definition, states=states, settings=settings, input_schema=schemas.input)


def restored_definition(
    members: Members, nodes: Mapping[str, GraphNode], edges: Sequence[_Edge], start: str | None = None
) -> Json:
    """Make the definition that a graph of states shows, valid or not; `start` is where it starts if nothing says so."""
    others = dict(members.object("definition") or {})
    if start is not None:
        others.setdefault("StartAt", start)
    leads = [GraphEdge(edge.source, edge.target, "" if edge.word == NEXT else edge.word) for edge in edges]
    given = {name: node.source for name, node in nodes.items()}
    return definition_of(given, leads, others)


def definition_shown(graph: object) -> Json:
    """Give the definition that a graph of states shows, without asking whether it is valid.

    Raises DocumentError: it is no graph of states, or holds others too.
    """
    diagnostics = Diagnostics()
    source = read_definition(graph, diagnostics)
    members = Members(source if type(source) is dict else {}, JsonPointer(), diagnostics)
    nodes = _nodes(members, {}, diagnostics) if not diagnostics.problems and members.get("nodes") != [] else {}
    edges = _edges(members, nodes, diagnostics)
    if not diagnostics.problems and not _is_definition(nodes, edges):
        diagnostics.add(JsonPointer() / "nodes", "holds more than states, each with one edge by each way")
    if diagnostics.problems:
        raise DocumentError(diagnostics.problems)
    return restored_definition(members, nodes, edges)


def _starts(nodes: Mapping[str, GraphNode], edges: Sequence[_Edge]) -> list[str]:
    """List the nodes to which nothing leads."""
    led = {edge.target for edge in edges}
    return [name for name, node in nodes.items() if name not in led and node.type != TRIGGER]


# --- graphs of steps -------------------------------------------------------------------------------------------------


def _compiled(
    members: Members,
    nodes: Mapping[str, GraphNode],
    edges: Sequence[_Edge],
    options: BuildOptions,
    diagnostics: Diagnostics,
    *,
    is_draft: bool,
) -> CompiledDocument:
    settings, schemas = settings_of(members), schemas_of(members)
    comment = members.text("description")
    trigger = next((node for node in nodes.values() if node.type == TRIGGER), None)
    kind = "api" if trigger is None else _trigger_kind(trigger, diagnostics)
    steps = {name: _by_edges(node.step, edges) for name, node in nodes.items() if node.step is not None}
    for step in steps.values():
        _check_config(step, diagnostics)
    ways = _ways(steps, edges, diagnostics)
    starts = _first(trigger, nodes, edges, diagnostics)
    reader = GraphReader(steps, ways, diagnostics)
    warnings = _check_reached(reader, starts, steps, diagnostics, is_draft=is_draft)
    _check_circles(steps, ways, diagnostics)
    if diagnostics.problems:
        raise DocumentError(diagnostics.problems)
    flow = reader.flow(starts, JsonPointer() / "nodes" if trigger is None else trigger.pointer)
    if diagnostics.problems:
        raise DocumentError(diagnostics.problems)
    taken = [step.id for step in steps_in(flow)]
    for name in {name for name in taken if taken.count(name) > 1}:
        diagnostics.add(JsonPointer() / "nodes", f"the id {shown(name)} is the engine's own here: take another")
    options = options._replace(variables=members.object("variables") or {}, is_enveloped=kind == "webhook")
    return assemble(
        flow, options, diagnostics, comment=comment, settings=settings, schemas=schemas, warnings=tuple(warnings)
    )


def _by_edges(step: FlowStep, edges: Sequence[_Edge]) -> FlowStep:
    """Let a condition whose edges have expressions choose by these."""
    found = [
        (edge.expression, edge.pointer / "condition") for edge in edges if edge.source == step.id and edge.expression
    ]
    return msgspec.structs.replace(step, kind="switch", config={**step.config, "expressions": found}) if found else step


def _check_config(step: FlowStep, diagnostics: Diagnostics) -> None:
    """Refuse what a node cannot say, since its edges do."""
    if step.kind == "switch":
        config = {name: member for name, member in step.config.items() if name != "expressions"}
        Members(config, step.config_pointer, diagnostics).check((), " beside edges that have conditions")
        if not step.errors.is_default:
            diagnostics.add(step.errors.pointer, "a node whose edges have conditions takes no error handling but fail")


def _trigger_kind(trigger: GraphNode, diagnostics: Diagnostics) -> str:
    config = trigger.source.get("config", trigger.source.get("data"))
    if not config or type(config) is not dict or "type" not in config:
        return "api"
    place = Members({"trigger": config}, trigger.pointer, diagnostics)
    return trigger_of(place, diagnostics)


def _first(
    trigger: GraphNode | None, nodes: Mapping[str, GraphNode], edges: Sequence[_Edge], diagnostics: Diagnostics
) -> list[str]:
    if trigger is not None:
        starts = list(dict.fromkeys(edge.target for edge in edges if edge.source == trigger.id))
        if not starts:
            diagnostics.add(trigger.pointer, "the trigger leads to no node")
        return starts
    starts = _starts(nodes, edges)
    if len(starts) != 1:
        what = f"nothing leads to {named(starts)}" if starts else "something leads to every node"
        diagnostics.add(JsonPointer() / "nodes", f"no start: {what}; add a node of type trigger that leads to it")
    return starts


def _ways(
    steps: Mapping[str, FlowStep], edges: Sequence[_Edge], diagnostics: Diagnostics
) -> dict[str, dict[str, list[str]]]:
    """Sort the edges of each step by the ways that it ends."""
    ways: dict[str, dict[str, list[str]]] = {name: {} for name in steps}
    for edge in edges:
        if edge.source not in steps:
            continue
        word = edge.word
        if edge.expression:
            word = f"choice:{_place_of(edge, edges)}"
        elif steps[edge.source].kind == "switch" and word == NEXT:
            word = DEFAULT
        elif steps[edge.source].kind == "switch":
            diagnostics.add(
                edge.pointer, "this node has edges with expressions: those by true and false have no meaning"
            )
        elif steps[edge.source].kind == "state" and word == "":
            word = NEXT
        targets = ways[edge.source].setdefault(word, [])
        if edge.target not in targets:
            targets.append(edge.target)
    for name, step in steps.items():
        _complete(step, ways[name], diagnostics)
    return ways


def _place_of(edge: _Edge, edges: Sequence[_Edge]) -> int:
    """Give which of the expressions of its node that of an edge is."""
    same = [other for other in edges if other.source == edge.source and other.expression]
    return same.index(edge)


def _complete(step: FlowStep, ways: dict[str, list[str]], diagnostics: Diagnostics) -> None:
    """Let the ways of a step be those that its kind knows."""
    if step.kind == "terminate" and ways:
        diagnostics.add(step.pointer, "a node of type terminate ends the run: nothing follows it")
    if step.kind == "condition" and ERROR in ways:
        diagnostics.add(step.pointer, "a condition has no way by error")
    if step.kind == "condition" and NEXT in ways:
        plain = ways.pop(NEXT)
        for word in (TRUE, FALSE):
            ways.setdefault(word, plain)
    if step.kind == "approval" and NEXT not in ways and REJECTED in ways:
        ways[NEXT] = ways[REJECTED]


def _check_reached(
    reader: GraphReader,
    starts: Sequence[str],
    steps: Mapping[str, FlowStep],
    diagnostics: Diagnostics,
    *,
    is_draft: bool,
) -> list[Problem]:
    """Look for nodes that nothing leads to: problems, or warnings in a draft."""
    reached = reader.reached(starts)
    warnings = []
    for name, step in steps.items():
        if name in reached:
            continue
        message = f"nothing leads to node {shown(name)}"
        if is_draft:
            warnings.append(Problem(str(step.pointer), message))
        else:
            diagnostics.add(step.pointer, message)
    return warnings


def _check_circles(
    steps: Mapping[str, FlowStep], ways: Mapping[str, Mapping[str, Sequence[str]]], diagnostics: Diagnostics
) -> None:
    """Refuse circles that no condition leads out of."""
    plain = {name: ways[name].get(NEXT, ()) for name in steps if set(ways[name]) <= {NEXT, ERROR}}
    found = circles(plain)
    if found:
        diagnostics.add(steps[found[0]].pointer, f"{named(found)} lead in a circle that no condition leads out of")
