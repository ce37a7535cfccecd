"""Writes a step document as a graph: lists become edges, and branches that nobody reads become forks."""

import json
from collections.abc import Iterator
from typing import Any


class GraphWriter:
    """Makes the nodes and edges of one document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.text = json.dumps(document)
        self.nodes: list[dict[str, Any]] = [{"id": "begin", "type": "trigger", "position": {"x": 0, "y": 0}}]
        self.edges: list[dict[str, Any]] = []
        starts = list(self.steps(document["steps"], []))
        self.edges += ({"source": "begin", "target": target} for target in starts)
        self.graph = {"nodes": self.nodes, "edges": self.edges, "name": document["name"]}

    def steps(self, steps: list[Any], after: list[str]) -> list[str]:
        """Add the steps of a list; give where it starts, which is what follows if it has none."""
        if not steps:
            return after
        step, *rest = steps
        if step["type"] == "condition":
            ways, rest = self.ways(step["config"], rest)
            following = self.steps(rest, after)
            config = {name: member for name, member in step["config"].items() if name not in ("then", "else")}
            self.nodes.append({**step, "config": config})
            for handle, way in zip(("true", "false"), ways, strict=True):
                self.lead(step["id"], self.steps(way, following), handle)
            return [step["id"]]
        following = self.steps(rest, after)
        if self.is_fork(step, following):
            return [target for branch in step["config"]["branches"] for target in self.steps(branch, following)]
        self.nodes.append(step)
        if step["type"] != "terminate":
            self.lead(step["id"], following)
        return [step["id"]]

    def lead(self, source: str, targets: list[str], handle: str = "") -> None:
        handled = {"sourceHandle": handle} if handle else {}
        self.edges += ({"id": f"e{len(self.edges)}", "source": source, "target": each, **handled} for each in targets)

    def is_fork(self, step: dict[str, Any], following: list[str]) -> bool:
        """Say whether edges can say the same: plain branches that meet in one node, and whose results are not read."""
        if step["type"] != "parallel" or set(step) > {"id", "type", "config"} or len(following) > 1:
            return False
        config = step["config"]
        is_plain = config.get("waitForAll", True) and len(config["branches"]) > 1
        return is_plain and f"steps['{step['id']}']" not in self.text and all(map(self.ends, config["branches"]))

    def ends(self, branch: list[Any]) -> bool:
        """Say whether a branch starts with one node, which has edges of its own, and goes on to what follows."""
        return branch[0]["type"] != "parallel" and '"terminate"' not in json.dumps(branch)

    def ways(self, config: dict[str, Any], rest: list[Any]) -> tuple[list[list[Any]], list[Any]]:
        """Take the steps of the two ways of a condition out of the list behind it."""
        ways = []
        for name in ("then", "else"):
            way = config.get(name, [])
            if way and isinstance(way[0], str):
                count = len(list(behind(way, rest)))
                ways.append(rest[:count])
                rest = rest[count:]
            else:
                ways.append(way)
        return ways, rest


def behind(way: list[str], rest: list[Any]) -> Iterator[str]:
    """The ids that a way names, and those that conditions among them name."""
    by_id = {step["id"]: step for step in rest}
    for name in way:
        yield name
        config = by_id[name]["config"]
        for inner in (config.get("then", []), config.get("else", [])) if by_id[name]["type"] == "condition" else ():
            if inner and isinstance(inner[0], str):
                yield from (each for each in behind(inner, rest) if each not in way)
