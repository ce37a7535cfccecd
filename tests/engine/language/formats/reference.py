"""A small interpreter of step documents, written from the design's words and not from the compiler.

It walks the document itself, with a clock that it adds up. It knows templates of a few forms only: those that the
generator writes. What happens at the same instant in two branches is not defined; then it raises `Undefined`.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

TEMPLATE = re.compile(r"\{\{ (.*?) \}\}")
ANYTHING = "§"
"""Stands for words of the engine's own in what is expected."""

NUMERAL = re.compile(r"\s*-?[0-9]{1,15}(\.[0-9]{1,15})?\s*")


class Undefined(Exception):
    """The document leaves open what happens first."""


class StepFailure(Exception):
    def __init__(self, at: float, code: str, message: str | None = None) -> None:
        super().__init__(code)
        self.at, self.code, self.message = at, code, message


class RunEnd(Exception):
    def __init__(self, at: float, status: str, output: Any) -> None:
        super().__init__(status)
        self.at, self.status, self.output = at, status, output


class Call(NamedTuple):
    """A call of a step: when, which, with what, and whether others went on at the same time."""

    at: float
    step: str
    parameters: Any


class Ran(NamedTuple):
    status: str
    output: Any
    error: str | None
    calls: list[Call]
    is_ordered: bool
    outputs: dict[str, Any]
    """By step, as far as they are seen at the end."""


Outcome = Callable[[str, Any, int], Any]
"""`outcome(step, parameters, count)`: the result of a call, of which `count` were before; an Exception is its failure,
None that nobody answers a wait."""


class Reference:
    """Runs one document."""

    def __init__(self, document: dict[str, Any], run_input: Any, outcome: Outcome) -> None:
        self.document = document
        self.input = run_input
        self.outcome = outcome
        self.calls: list[Call] = []
        self.is_ordered = True

    def run(self) -> Ran:
        outputs: dict[str, Any] = {}
        status, output, error = "SUCCEEDED", None, None
        try:
            output, _ = self.steps(self.document["steps"], outputs, 0.0)
        except StepFailure as failure:
            status, error = "FAILED", failure.code
        except RunEnd as end:
            status, output = end.status, end.output
            error = None if end.status == "SUCCEEDED" else "Run.Terminated"
        return Ran(status, output, error, self.calls, self.is_ordered, outputs)

    # --- steps -------------------------------------------------------------------------------------------------------

    def steps(self, steps: list[Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        output: Any = None
        skipped: set[str] = set()
        for step in steps:
            if step["id"] in skipped:
                continue
            if step["type"] != "condition":
                output, at = self.handled(step, scope, at)
                scope[step["id"]] = output
                continue
            taken = self.holds(step["config"], scope)
            output = scope[step["id"]] = {"result": taken}
            for name, is_taken in (("then", taken), ("else", not taken)):
                way = step["config"].get(name, [])
                if way and isinstance(way[0], dict):
                    if is_taken:
                        output, at = self.steps(way, scope, at)
                elif not is_taken:
                    skipped |= set(closure(way, steps))
        return output, at

    def handled(self, step: dict[str, Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        handling = step.get("errorHandling", "fail")
        strategy = handling["strategy"] if isinstance(handling, dict) else handling
        retry = {"maxAttempts": 3, "backoffMs": 1000, "multiplier": 2, "maxDelayMs": 30000}
        retry |= step.get("retryConfig", {})
        attempts = retry["maxAttempts"] if strategy == "retry" else 1
        last = StepFailure(at, "")
        for attempt in range(attempts):
            try:
                return self.limited(step, scope, at)
            except StepFailure as failure:
                at, last = failure.at, failure
                if attempt + 1 < attempts:
                    at += round(min(retry["backoffMs"] * retry["multiplier"] ** attempt, retry["maxDelayMs"]))
        if isinstance(handling, dict) and "fallback" in handling:
            return self.value(handling["fallback"], scope), at
        if strategy == "continue":
            return {"error": {"code": last.code, "message": last.message}}, at
        raise last

    def limited(self, step: dict[str, Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        limit = step.get("timeoutMs")
        before = len(self.calls)
        if limit is None or step["type"] not in ("loop", "parallel", "wait"):
            return self.done(step, scope, at)
        inner = dict(scope)
        ends, output = math.inf, None
        try:
            output, ends = self.done(step, inner, at)
        except (StepFailure, RunEnd) as problem:
            self.check_apart(problem.at, at + limit)
            if problem.at < at + limit:
                raise
            ends = math.inf
        self.check_apart(ends, at + limit)
        if ends > at + limit:
            self.cut(before, at + limit)
            raise StepFailure(at + limit, "States.Timeout", f"Step '{step['id']}' took longer than {limit} ms.")
        scope.update(inner)
        return output, ends

    def check_apart(self, one: float, other: float) -> None:
        if one == other:
            raise Undefined

    def cut(self, before: int, at: float) -> None:
        """Drop the calls that were not made because something ended first."""
        for call in self.calls[before:]:
            self.check_apart(call.at, at)
        self.calls[before:] = [call for call in self.calls[before:] if call.at < at]

    def done(self, step: dict[str, Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        found: tuple[Any, float] = getattr(self, f"do_{step['type']}")(step, scope, at)
        return found

    # --- kinds -------------------------------------------------------------------------------------------------------

    def do_log(self, step: dict[str, Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        parameters = self.value(step["config"], scope)
        return self.called(step, parameters, at), at

    def called(self, step: dict[str, Any], parameters: Any, at: float) -> Any:
        count = sum(call.step == step["id"] for call in self.calls)
        self.calls.append(Call(at, step["id"], parameters))
        found = self.outcome(step["id"], parameters, count)
        if isinstance(found, Exception):
            raise StepFailure(at, str(found.args[0]), "it failed")
        return found

    def do_workflow(self, step: dict[str, Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        config = step["config"]
        given = {"StateMachineArn": config["workflowId"], "Input": self.value(config.get("input", {}), scope)}
        return self.called(step, given, at)["Output"], at

    def do_transform(self, step: dict[str, Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        made = self.value(step["config"], scope)
        return {**made, "result": made}, at

    def do_code(self, step: dict[str, Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        return self.value(f"{{{{ {step['config']['expression']} }}}}", scope), at

    def do_wait(self, step: dict[str, Any], _scope: dict[str, Any], at: float) -> tuple[Any, float]:
        units = {"milliseconds": 1, "seconds": 1000, "minutes": 60_000, "hours": 3_600_000, "days": 86_400_000}
        waited = step["config"]["duration"] * units[step["config"].get("unit", "milliseconds")]
        return {"waited": waited}, at + waited

    def do_wait_for_resume(self, step: dict[str, Any], _scope: Any, at: float) -> tuple[Any, float]:
        found = self.called(step, None, at)
        if found is None:
            raise StepFailure(at + step["config"]["timeoutMs"], "States.Timeout")
        return found, at

    def do_approval(self, step: dict[str, Any], _scope: Any, at: float) -> tuple[Any, float]:
        config, by = step["config"], set()
        while True:
            found = self.called(step, None, at)
            if found is None:
                at += config["timeoutMs"]
                if config.get("onTimeout") == "fail":
                    raise StepFailure(at, "States.Timeout")
                return {"approved": False, "approvedBy": None, "approvedAt": None, "comment": None}, at
            by.add(found["approvedBy"])
            if not found["approved"] or len(by) >= config.get("required", 1):
                return found, at

    def do_terminate(self, step: dict[str, Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        is_done = step["config"].get("status", "completed") == "completed"
        output = self.value(step["config"].get("output"), scope) if is_done else None
        raise RunEnd(at, "SUCCEEDED" if is_done else "FAILED", output)

    def do_loop(self, step: dict[str, Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        config = step["config"]
        items = self.value(config["collection"], scope)
        if not isinstance(items, list) or len(items) > config.get("maxIterations", 100):
            raise StepFailure(at, "States.QueryEvaluationError", ANYTHING)
        inside = list(ids_in(config["steps"]))
        seen: dict[str, Any] = {}
        results = []
        for index, item in enumerate(items):
            seen = {name: value for name, value in scope.items() if name not in inside}
            seen[config.get("itemVariable", "item")] = item
            seen[config.get("indexVariable", "index")] = index
            output, at = self.steps(config["steps"], seen, at)
            results.append(output)
        for name in inside:
            scope[name] = seen.get(name)
        return {"results": results, "count": len(items)}, at

    def do_parallel(self, step: dict[str, Any], scope: dict[str, Any], at: float) -> tuple[Any, float]:
        self.is_ordered = False
        branches = step["config"]["branches"]
        before = len(self.calls)
        ends = self.branch_ends(branches, scope, at)
        waits_for_all = step["config"].get("waitForAll", True)
        deciding = [end for end in ends if isinstance(end[2], Exception) or not waits_for_all]
        rivals = [ended for ended, *_ in (deciding if waits_for_all else ends)]
        if any(rivals.count(ended) > 1 for ended, *_ in deciding):
            raise Undefined
        if not deciding:
            for branch, (_, _, _, seen) in zip(branches, ends, strict=True):
                scope.update({name: seen.get(name) for name in ids_in(branch)})
            return {"results": [end[2] for end in ends]}, max(end[0] for end in ends)
        first = min(deciding, key=lambda end: end[0])
        self.cut_others(before, branches, first)
        if isinstance(first[2], Exception):
            raise first[2]
        results = [first[2] if index == first[1] else None for index in range(len(branches))]
        for index, branch in enumerate(branches):
            scope.update({name: first[3].get(name) if index == first[1] else None for name in ids_in(branch)})
        return {"results": results}, first[0]

    def branch_ends(self, branches: list[Any], scope: dict[str, Any], at: float) -> list[Any]:
        """When each branch ends, which it is, with what, and what it has seen by then."""
        ends: list[tuple[float, int, Any, dict[str, Any]]] = []
        for index, branch in enumerate(branches):
            seen = dict(scope)
            try:
                output, ended = self.steps(branch, seen, at)
                ends.append((ended, index, output, seen))
            except (StepFailure, RunEnd) as problem:
                ends.append((problem.at, index, problem, seen))
        return ends

    def cut_others(self, before: int, branches: list[Any], first: tuple[float, int, Any, Any]) -> None:
        own = set(ids_in(branches[first[1]]))
        kept = []
        for call in self.calls[before:]:
            if call.step not in own:
                self.check_apart(call.at, first[0])
            if call.step in own or call.at < first[0]:
                kept.append(call)
        self.calls[before:] = kept

    # --- conditions --------------------------------------------------------------------------------------------------

    def holds(self, config: dict[str, Any], scope: dict[str, Any]) -> bool:
        if "expression" in config:
            return truth(self.value(config["expression"], scope))
        word = {"all": all, "any": any}[config.get("match", "all")]
        return self.combined(config["conditions"], scope, word)

    def combined(self, source: Any, scope: dict[str, Any], word: Any) -> bool:
        if isinstance(source, list):
            return bool(word([self.combined(item, scope, all) for item in source]))
        for name, combine in (("and", all), ("or", any)):
            if name in source:
                return self.combined(source[name], scope, combine)
        if "not" in source:
            return not self.combined(source["not"], scope, all)
        left, right = self.value(source["left"], scope), self.value(source.get("right"), scope)
        return compare(source["operator"], left, right, has_right="right" in source)

    # --- templates ---------------------------------------------------------------------------------------------------

    def value(self, value: Any, scope: dict[str, Any]) -> Any:
        if isinstance(value, dict):
            return {name: self.value(member, scope) for name, member in value.items()}
        if isinstance(value, list):
            return [self.value(item, scope) for item in value]
        if not isinstance(value, str):
            return value
        whole = TEMPLATE.fullmatch(value)
        if whole:
            return self.expression(whole[1], scope)
        return TEMPLATE.sub(lambda match: joined(self.expression(match[1], scope)), value)

    def expression(self, source: str, scope: dict[str, Any]) -> Any:
        if " ? " in source:
            test, _, rest = source.partition(" ? ")
            then, _, other = rest.partition(" : ")
            return self.expression(then if truth(self.expression(test, scope)) else other, scope)
        for operator in (" || ", " ?? ", " === "):
            if operator in source:
                left, _, right = source.partition(operator)
                one, other = self.expression(left, scope), self.expression(right, scope)
                if operator == " === ":
                    return same(one, other)
                return one if (truth(one) if operator == " || " else one is not None) else other
        if source[0] in "'[{0123456789" or source in ("null", "true", "false"):
            return json.loads(source.replace("'", '"'))
        return self.path(source, scope)

    def path(self, source: str, scope: dict[str, Any]) -> Any:
        if source.startswith("steps['"):
            name, _, rest = source.removeprefix("steps['").partition("']")
            found, names = scope.get(name), rest.removeprefix(".output").split(".")[1:]
        else:
            root, *names = source.split(".")
            found = self.input if root == "input" else scope[root]
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def ids_in(steps: list[Any]) -> Iterator[str]:
    """All ids in a list of steps, those in them too."""
    for step in steps:
        yield step["id"]
        config = step["config"]
        for inner in (config.get("steps", []), *config.get("branches", ())):
            yield from ids_in(inner)
        for way in (config.get("then", []), config.get("else", [])):
            if way and isinstance(way[0], dict):
                yield from ids_in(way)


def closure(way: list[str], steps: list[Any]) -> Iterator[str]:
    """The ids that a way names, and those that conditions among them name."""
    by_id = {step["id"]: step for step in steps}
    for name in way:
        yield name
        config = by_id[name]["config"] if by_id[name]["type"] == "condition" else {}
        for inner in (config.get("then", []), config.get("else", [])):
            if inner and isinstance(inner[0], str):
                yield from closure(inner, steps)


def truth(value: Any) -> bool:
    """JSONata's."""
    if isinstance(value, list):
        return truth(value[0]) if len(value) == 1 else any(map(truth, value))
    return bool(value)


def same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def joined(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def number(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return float(value) if isinstance(value, str) and NUMERAL.fullmatch(value) else None


def compare(operator: str, left: Any, right: Any, *, has_right: bool) -> bool:  # noqa: PLR0911 a table
    """The operators of conditions."""
    if operator in ("exists", "isEmpty"):
        found = left is not None if operator == "exists" else left in (None, "", [], {}) and left is not False
        return found == (right if has_right else True)
    if operator == "matches":
        return isinstance(left, str) and re.search(right, left) is not None
    one, other = number(left), number(right)
    is_number = one is not None and other is not None
    are_texts = isinstance(left, str) and isinstance(right, str)
    if operator in ("eq", "ne"):
        is_same = one == other if is_number else same(left, right)
        return is_same == (operator == "eq")
    if operator == "contains":
        return right in left if are_texts else isinstance(left, list) and any(same(item, right) for item in left)
    if operator in ("startsWith", "endsWith"):
        return are_texts and getattr(left, operator.lower())(right)
    if not is_number and not are_texts:
        return False
    low, high = (one, other) if is_number else (left, right)
    return bool({"gt": low > high, "gte": low >= high, "lt": low < high, "lte": low <= high}[operator])  # type: ignore[operator]
