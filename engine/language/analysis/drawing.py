"""A definition as a Mermaid flowchart.

What stands in a definition is anybody's text. Nodes are therefore named by number, and a text stands only in a quoted
label, in which no character but letters, digits and a few signs is written as itself (`label`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from perdure.engine.language.analysis.connections import Edge, connections
from perdure.engine.language.values import Json

NAME_MAX: Final = 60
"""Characters of a state's name that are shown."""

CONDITION_MAX: Final = 40
"""Characters of a condition, or of the errors that are caught."""

_SHAPES: Final[Mapping[str, tuple[str, str]]] = {
    "Task": ("[", "]"),
    "Pass": ("(", ")"),
    "Choice": ("{", "}"),
    "Wait": ("{{", "}}"),
    "Succeed": ("([", "])"),
    "Fail": ("[/", "\\]"),
}
"""The shape around the label of a state: a box, rounded, a diamond, a hexagon, a pill, a trapezoid."""

_STYLES: Final[Mapping[str, str]] = {
    "visited": "fill:#e3f1e5,stroke:#2e7d32,color:#111",
    "current": "fill:#fff3cd,stroke:#b26a00,stroke-width:3px,color:#111",
    "last": "fill:#a9d8ae,stroke:#2e7d32,stroke-width:3px,color:#111",
    "failed": "fill:#f8d0cd,stroke:#b3261e,stroke-width:3px,color:#111",
}

_PLAIN: Final = frozenset(" ,-._")
# At the start of a label Mermaid takes `1.` and `-` for a list, which it refuses to draw.
_LIST: Final = re.compile(r"^(?:\d+(?=\.)|(?=-))")


class Mark(NamedTuple):
    """The marking of a state in the drawing of a run: a class of `_STYLES`, and how often the state was entered."""

    style: str
    visits: int


def mermaid(definition: Mapping[str, Json], marks: Mapping[str, Mark] | None = None) -> str:
    """Draw a valid definition (`problems`) as a Mermaid flowchart; `marks` are by the name of a state.

    Every state has the shape of its type; one that runs machines is a box around them. Choices are labelled with their
    condition in short, what is caught is dotted, and the end is there if a state ends the execution other than by
    failing.
    """
    return "\n".join(["flowchart TD", *(f"    {line}" for line in _Drawing(marks or {}).whole(definition))])


class _Drawing:
    """Draws a definition, and the machines within it.

    `marks`: by the name of a state, which no two states of a definition share.
    `nodes`: name of the node of each state drawn so far.
    """

    def __init__(self, marks: Mapping[str, Mark]) -> None:
        self.marks = marks
        self.nodes: dict[str, str] = {}
        self.entries = 0

    def whole(self, definition: Mapping[str, Json]) -> Iterator[str]:
        states: Mapping[str, Mapping[str, Json]] = definition["States"]
        ends = [name for name, state in states.items() if state.get("End") is True or state["Type"] == "Succeed"]
        yield 'start(("start"))'
        yield from self.states(states)
        if ends:
            yield 'finish((("end")))'
        yield f"start --> {self.nodes[definition['StartAt']]}"
        yield from self.ways(definition)
        for name in ends:
            yield f"{self.nodes[name]} --> finish"
        yield from _classes(self.nodes, self.marks)

    def states(self, states: Mapping[str, Mapping[str, Json]]) -> Iterator[str]:
        for name in states:
            self.nodes[name] = f"s{len(self.nodes) + 1}"
        for name, state in states.items():
            machines = machines_in(state)
            if machines:
                yield f'subgraph {self.nodes[name]}["{_title(name, self.marks.get(name))}"]'
                for machine in machines:
                    yield from (f"    {line}" for line in self.machine(machine))
                yield "end"
            else:
                left, right = _SHAPES.get(state["Type"], _SHAPES["Task"])
                yield f'{self.nodes[name]}{left}"{_title(name, self.marks.get(name))}"{right}'

    def machine(self, machine: Mapping[str, Json]) -> Iterator[str]:
        self.entries += 1
        entry = f"e{self.entries}"
        yield f'{entry}((" "))'
        yield from self.states(machine["States"])
        yield f"{entry} --> {self.nodes[machine['StartAt']]}"
        yield from self.ways(machine)

    def ways(self, machine: Mapping[str, Json]) -> Iterator[str]:
        for connection in connections(machine):
            yield f"{self.nodes[connection.origin]} {_arrow(connection)} {self.nodes[connection.target]}"


def machines_in(state: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """List the machines that a state of a valid definition runs."""
    processors = [state[name] for name in ("ItemProcessor", "Iterator") if name in state]
    return [*state.get("Branches", ()), *processors]


def _title(name: str, mark: Mark | None) -> str:
    times = f" #215;{mark.visits}" if mark is not None and mark.visits > 1 else ""
    return label(name, NAME_MAX) + times


def _arrow(connection: Edge) -> str:
    match connection.kind:
        case "next":
            return "-->"
        case "default":
            return '-->|"default"|'
        case "choice":
            return f'-->|"{label(connection.label, CONDITION_MAX)}"|'
        case "catch":
            return f'-.->|"catch {label(connection.label, CONDITION_MAX)}"|'


def _classes(nodes: Mapping[str, str], marks: Mapping[str, Mark]) -> Iterator[str]:
    for style, look in _STYLES.items():
        marked = [node for name, node in nodes.items() if name in marks and marks[name].style == style]
        if marked:
            yield f"classDef {style} {look}"
            yield f"class {','.join(marked)} {style}"


def label(text: str, length_max: int) -> str:
    """Write any text so that it can stand between a label's quotes: on one line, cut, and without syntax.

    What is not a letter or digit becomes Mermaid's `#CODE;`, and what cannot be seen a replacement character.
    """
    words = " ".join(text.split()) or "\N{OPEN BOX}"
    if len(words) > length_max:
        words = words[: length_max - 1] + "…"
    first = _LIST.match(words)
    # Of a number that would begin a list the point is escaped, else the sign itself.
    risky = -1 if first is None else first.end()
    return "".join(_escaped(character, is_risky=index == risky) for index, character in enumerate(words))


def _escaped(character: str, *, is_risky: bool) -> str:
    if not character.isprintable():
        return "\N{REPLACEMENT CHARACTER}"
    is_plain = character in _PLAIN or character.isalnum() or not character.isascii()
    return character if is_plain and not is_risky else f"#{ord(character)};"
