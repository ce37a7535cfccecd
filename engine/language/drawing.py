"""A definition as a picture: a Mermaid flowchart, for the terminal, a README, or whatever renders Mermaid.

What stands in a definition is anybody's text. Nodes are therefore named by number, and a text stands only in a quoted
label, in which no character but letters, digits and a few signs is written as itself (`label`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from engine.language.connections import Connection, connections
from engine.language.values import Json

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
    "Parallel": ("[[", "]]"),
    "Map": ("[[", "]]"),
}
"""What stands around the label of a state: a box, rounded, a diamond, a hexagon, a pill, a trapezoid, a double box."""

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
    """What a drawing of a run says of a state: a class of `_STYLES`, and how often the state was entered."""

    style: str
    visits: int


def mermaid(definition: Mapping[str, Json], marks: Mapping[str, Mark] | None = None) -> str:
    """Draw a valid definition (`problems`) as a Mermaid flowchart; `marks` are by the name of a state.

    Every state has the shape of its type. Choices are labelled with their condition in short, what is caught is dotted,
    and the end is there if a state ends the execution other than by failing.
    """
    return "\n".join(["flowchart TD", *(f"    {line}" for line in _lines(definition, marks or {}))])


def _lines(definition: Mapping[str, Json], marks: Mapping[str, Mark]) -> Iterator[str]:
    states: Mapping[str, Mapping[str, Json]] = definition["States"]
    nodes = {name: f"s{number}" for number, name in enumerate(states, 1)}
    ends = [name for name, state in states.items() if state.get("End") is True or state["Type"] == "Succeed"]
    yield 'start(("start"))'
    for name, state in states.items():
        yield nodes[name] + _node(name, state["Type"], marks.get(name))
    if ends:
        yield 'finish((("end")))'
    yield f"start --> {nodes[definition['StartAt']]}"
    for connection in connections(definition):
        yield f"{nodes[connection.origin]} {_arrow(connection)} {nodes[connection.target]}"
    for name in ends:
        yield f"{nodes[name]} --> finish"
    yield from _classes(nodes, marks)


def _node(name: str, kind: str, mark: Mark | None) -> str:
    left, right = _SHAPES.get(kind, _SHAPES["Task"])
    times = f" #215;{mark.visits}" if mark is not None and mark.visits > 1 else ""
    return f'{left}"{label(name, NAME_MAX)}{times}"{right}'


def _arrow(connection: Connection) -> str:
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
