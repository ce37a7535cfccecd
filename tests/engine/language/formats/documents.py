"""Generates step documents that compile, with inputs, and what their calls give."""

from typing import Any, NamedTuple

from hypothesis import strategies as st

from perdure.engine.steps.action_forms import ACTION_FORMS

LENIENT_FORMS = {name: form._replace(check=None) for name, form in ACTION_FORMS.items()}
"""The catalog's actions, but with any values in their configs: here a log line stands for whatever may be called."""

TEXTS = st.sampled_from(["", "a", "ab", "7", " 7 ", "7.0", "-3", "x/y", "é", "true"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 9), TEXTS)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=2))
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "a": VALUES,
        "b": VALUES,
        "list": st.lists(SCALARS, max_size=4),
        "c": st.fixed_dictionaries({"d": VALUES}),
    },
)
ODD = ("s", "send-it", "two words", "ünï", "a.b", "a_b", "{% x", "it@once")


class Made(NamedTuple):
    document: dict[str, Any]
    outcomes: dict[str, list[str]]
    """For each step what its attempts give: `ok`, `fail`, and for waits `yes`, `no`, `none`."""


class Maker:
    """Draws one document; ids are drawn from a counter."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.ids: list[str] = []
        self.outcomes: dict[str, list[str]] = {}
        self.durations = 0

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def chance(self, of: int = 3) -> bool:
        return bool(self.draw(st.integers(1, of)) == 1)

    def name(self) -> str:
        name = f"{self.pick(*ODD)}{len(self.ids)}"
        self.ids.append(name)
        return name

    def duration(self) -> int:
        """A time that no other wait has, so that nothing happens at the same instant by chance."""
        self.durations += 1
        return 997 * self.durations * self.durations + self.durations

    # --- templates ---------------------------------------------------------------------------------------------------

    def path(self, loop: int) -> str:
        roots = ["input.a", "input.b", "input.list", "input.c.d", "input.nope.x"]
        if self.ids:
            step = self.pick(*self.ids)
            roots += [f"steps['{step}'].output", f"steps['{step}'].output.echo", f"steps['{step}'].result"]
        roots += [f"{word}{depth}" for depth in range(loop) for word in ("item", "index")]
        return str(self.pick(*roots))

    def expression(self, loop: int) -> str:
        path = self.path(loop)
        form = self.pick("{0}", "{0}", "{0} || 'or'", "{0} ?? 'else'", "{0} === 7", "{0} === 'a' ? 'same' : 'other'")
        return str(form.format(path))

    def template(self, loop: int) -> Any:
        kind = self.pick("whole", "mixed", "plain", "list")
        if kind == "plain":
            return self.draw(SCALARS)
        if kind == "list":
            return [f"{{{{ {self.expression(loop)} }}}}", 1, [f"{{{{ {self.expression(loop)} }}}}"]]
        if kind == "whole":
            return f"{{{{ {self.expression(loop)} }}}}"
        return f"<{{{{ {self.expression(loop)} }}}}|{{{{ {self.expression(loop)} }}}}>"

    # --- steps -------------------------------------------------------------------------------------------------------

    def steps(self, depth: int, loop: int, *, may_end: bool = True) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = []
        for _ in range(self.draw(st.integers(1, 3))):
            kinds = ["log", "log", "transform", "code", "wait", "approval", "wait_for_resume", "workflow"]
            kinds += ["condition", "condition", "loop", "parallel", "race"] if depth else []
            kind = self.pick(*kinds)
            if kind == "condition":
                steps += self.condition(depth, loop)
            else:
                steps.append(self.step(kind, depth, loop))
        if may_end and self.chance(8):
            output = {"output": self.template(loop)} if self.chance() else {}
            config = output if self.chance(2) else {"status": "failed", "reason": "no"}
            steps.append({"id": self.name(), "type": "terminate", "config": config})
        return steps

    def condition(self, depth: int, loop: int) -> list[dict[str, Any]]:
        step: dict[str, Any] = {"id": self.name(), "type": "condition"}
        if self.chance(5):
            step["errorHandling"] = self.pick("retry", "continue", {"strategy": "retry", "fallback": {"result": True}})
        if self.chance(4):
            step["config"] = {"expression": f"{{{{ {self.expression(loop)} }}}}"}
        else:
            step["config"] = {"conditions": self.comparisons(loop, 2), "match": self.pick("all", "any")}
        ways = {
            name: self.steps(depth - 1, loop)
            for name in self.draw(st.sampled_from([["then"], ["else"], ["then", "else"]]))
        }
        if len(ways) == 2 and all(way[-1]["type"] == "terminate" for way in ways.values()):
            del ways["else"][-1]  # what comes after could not be reached
            ways = {name: way for name, way in ways.items() if way}
        if self.chance(2):
            step["config"] |= ways
            return [step]
        named = {name: [inner["id"] for inner in way] for name, way in ways.items()}
        step["config"] |= named
        return [step, *(inner for way in ways.values() for inner in way)]

    def comparisons(self, loop: int, depth: int) -> Any:
        kind = self.pick("one", "one", "list", "and", "or", "not") if depth else "one"
        if kind == "one":
            return self.comparison(loop)
        if kind == "not":
            return {"not": self.comparisons(loop, depth - 1)}
        parts = [self.comparisons(loop, depth - 1) for _ in range(self.draw(st.integers(1, 2)))]
        return parts if kind == "list" else {kind: parts}

    def comparison(self, loop: int) -> dict[str, Any]:
        operators = (
            "eq",
            "ne",
            "gt",
            "gte",
            "lt",
            "lte",
            "contains",
            "startsWith",
            "endsWith",
            "exists",
            "isEmpty",
            "matches",
        )
        operator = self.pick(*operators)
        found = {"left": f"{{{{ {self.path(loop)} }}}}", "operator": operator}
        if operator in ("exists", "isEmpty"):
            return {**found, "right": self.draw(st.booleans())} if self.chance() else found
        if operator == "matches":
            return {**found, "right": self.pick("^a", "[0-9]+", "x/y", "b$")}
        return {**found, "right": self.pick(f"{{{{ {self.path(loop)} }}}}", self.draw(VALUES))}

    def step(self, kind: str, depth: int, loop: int) -> dict[str, Any]:
        name = self.name()
        config: dict[str, Any] = getattr(self, f"_{kind}")(depth, loop)
        step = {"id": name, "type": "parallel" if kind == "race" else kind, "config": config}
        self.outcomes[name] = self.draw(st.lists(st.sampled_from(["ok", "ok", "fail"]), min_size=1, max_size=4))
        if kind in ("approval", "wait_for_resume"):
            self.outcomes[name] = self.draw(
                st.lists(st.sampled_from(["yes", "yes", "no", "none"]), min_size=1, max_size=4)
            )
        if self.chance():
            step["errorHandling"] = self.pick(
                "continue", "retry", {"strategy": "continue", "fallback": self.template(loop)}
            )
            if step["errorHandling"] == "retry" and self.chance(2):
                step["retryConfig"] = {
                    "maxAttempts": self.draw(st.integers(1, 4)),
                    "backoffMs": self.pick(1, 333, 1000, 1500, 40000),
                }
        if kind in ("loop", "parallel", "race", "wait") and self.chance(4):
            step["timeoutMs"] = self.pick(500, 3001, 70_003, 5_000_007)
        return step

    def _log(self, _depth: int, loop: int) -> dict[str, Any]:
        return {"message": self.template(loop), "fields": {"x": self.template(loop)}}

    def _transform(self, _depth: int, loop: int) -> dict[str, Any]:
        return {
            name: self.template(loop) for name in self.draw(st.lists(st.sampled_from(["a", "b", "{% c"]), unique=True))
        }

    def _code(self, _depth: int, loop: int) -> dict[str, Any]:
        return {"expression": self.pick(self.expression(loop), "[1, [2]]", "{'a': 1}")}

    def _wait(self, _depth: int, _loop: int) -> dict[str, Any]:
        return {"duration": self.duration()} if self.chance(2) else {"duration": self.duration(), "unit": "seconds"}

    def _approval(self, _depth: int, _loop: int) -> dict[str, Any]:
        config: dict[str, Any] = {"title": "ok?", "timeoutMs": self.duration()}
        if self.chance():  # the wait is opened again, for whole seconds
            config |= {"required": 2, "timeoutMs": 1000 * self.duration()}
        return {**config, "onTimeout": "fail"} if self.chance() else config

    def _wait_for_resume(self, _depth: int, _loop: int) -> dict[str, Any]:
        return {"timeoutMs": self.duration()}

    def _workflow(self, _depth: int, loop: int) -> dict[str, Any]:
        return {"workflowId": "other", "input": {"x": self.template(loop)}}

    def _loop(self, depth: int, loop: int) -> dict[str, Any]:
        names = {"itemVariable": f"item{loop}", "indexVariable": f"index{loop}"}
        collection = self.pick("{{ input.list }}", ["p", 2, None, [3]], [], f"{{{{ {self.path(loop)} }}}}")
        limit = {"maxIterations": 2} if self.chance(6) else {}
        if limit and isinstance(collection, list):
            collection = collection[:2]
        return {"collection": collection, **names, **limit, "steps": self.steps(depth - 1, loop + 1)}

    def _parallel(self, depth: int, loop: int) -> dict[str, Any]:
        return {"branches": [self.steps(depth - 1, loop) for _ in range(self.draw(st.integers(1, 3)))]}

    def _race(self, depth: int, loop: int) -> dict[str, Any]:
        branches = []
        for _ in range(self.draw(st.integers(1, 3))):
            first = {"id": self.name(), "type": "wait", "config": self._wait(depth, loop)}
            branches.append([first, *self.steps(depth - 1, loop)])
        return {"branches": branches, "waitForAll": False}


@st.composite
def made_documents(draw: Any) -> Made:
    """A document, and what its calls give."""
    maker = Maker(draw)
    steps = maker.steps(2, 0)
    return Made({"name": "generated", "steps": steps}, maker.outcomes)
