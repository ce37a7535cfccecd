"""Step documents: what each type of step does."""

from typing import Any

from perdure.engine.core.events import WaitOpened
from perdure.engine.language import problems
from perdure.engine.language.formats.flow import CompiledDocument
from perdure.engine.language.formats.step_list import compile_steps
from perdure.engine.testing import Failed, Simulation, Succeeded, TaskRequest, Unanswered, simulate
from tests.engine.language.formats.documents import LENIENT_FORMS


def document(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "test", "steps": list(steps), **more}


def compiled(*steps: dict[str, Any], **more: Any) -> CompiledDocument:
    found = compile_steps(document(*steps, **more), actions=LENIENT_FORMS, is_standalone=True)
    assert problems(found.definition) == []
    return found


def log(name: str, message: Any = "m", **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "log", "config": {"message": message}, **more}


def ran(made: CompiledDocument, run_input: Any = None, answers: Any = None) -> tuple[Simulation, list[Any]]:
    """Run a document; `answers` gives by state a result, or a list of them by attempt."""
    calls: list[Any] = []

    def tasks(request: TaskRequest) -> Any:
        calls.append((request.state, request.parameters))
        found = (answers or {}).get(request.state, request.parameters)
        if isinstance(found, list):
            found = found[min(len([name for name, _ in calls if name == request.state]), len(found)) - 1]
        return found if isinstance(found, (Failed, Unanswered)) else Succeeded(found)

    return simulate(made.definition, {} if run_input is None else run_input, tasks=tasks), calls


SEED = {
    "id": "send-invoice",
    "type": "action",
    "errorHandling": "retry",
    "retryConfig": {"maxAttempts": 3, "backoffMs": 1000},
    "action": "http_request",
    "config": {"url": "https://example.com"},
}


def test_the_step_of_the_seed_is_a_task_with_a_retry() -> None:
    """Three attempts are two retries, after a second and then two."""
    state = compiled(SEED, settings={"timeoutMs": 300_000, "concurrencyLimit": 1}).definition["States"]["send-invoice"]
    assert state == {
        "Type": "Task",
        "Resource": "http_request",
        "Arguments": {"url": "https://example.com"},
        "Retry": [
            {
                "ErrorEquals": ["States.ALL"],
                "MaxAttempts": 2,
                "IntervalSeconds": 1,
                "BackoffRate": 2,
                "MaxDelaySeconds": 30,
            }
        ],
        "End": True,
    }


def test_the_time_of_a_run_is_that_of_the_machine() -> None:
    """In whole seconds, rounded up."""
    assert compiled(SEED, settings={"timeoutMs": 300_000}).definition["TimeoutSeconds"] == 300
    assert compiled(SEED, settings={"timeoutMs": 1_001}).definition["TimeoutSeconds"] == 2


def test_settings_are_the_workflows() -> None:
    """A definition that is kept with its workflow leaves them to that, milliseconds and all."""
    source = document(SEED, settings={"timeoutMs": 1_001, "concurrencyLimit": 1})
    made = compile_steps(source, actions=LENIENT_FORMS)
    assert "TimeoutSeconds" not in made.definition
    assert made.settings == {"timeoutMs": 1_001, "concurrencyLimit": 1}


def test_a_run_times_out() -> None:
    """Its status says so."""
    made = compiled({"id": "w", "type": "wait", "config": {"duration": 2, "unit": "days"}}, settings={"timeoutMs": 5})
    assert ran(made)[0].status == "TIMED_OUT"


def test_outputs_are_kept_only_if_they_are_read() -> None:
    """A machine whose templates read nothing keeps nothing."""
    made = compiled(log("a"), log("b", "{{ steps.a.output.message }}"), log("c"))
    states = made.definition["States"]
    assert states["a"]["Assign"] == {"step_0_a": "{% $states.result %}"}
    assert "Assign" not in states["b"]
    assert "Assign" not in states["c"]
    assert made.definition["StartAt"] == "a"


def test_states_name_their_steps() -> None:
    """Every state of a definition is found in the map, nested ones too, but those that only begin and end."""
    made = compiled(
        {
            "id": "l",
            "type": "loop",
            "timeoutMs": 9_000,
            "config": {
                "collection": [1],
                "steps": [log("in", "{{ item }} {{ input.x }}"), {"id": "t", "type": "transform", "config": {}}],
            },
        },
        log("after", "{{ steps.in }}"),
    )
    names = set(states_in(made.definition))
    assert set(made.states) <= names
    assert {name for name in names if name not in made.states} == {"(begin)", "(end)", "(end) 2"}
    assert set(made.states.values()) == {"l", "in", "t", "after"}
    assert [outline.id for outline in made.steps] == ["l", "after"]
    assert [outline.id for outline in made.steps[0].bodies[0]] == ["in", "t"]


def states_in(machine: dict[str, Any]) -> Any:
    for name, state in machine["States"].items():
        yield name
        for inner in (*state.get("Branches", ()), *([state["ItemProcessor"]] if "ItemProcessor" in state else ())):
            yield from states_in(inner)


# --- types ---------------------------------------------------------------------------------------------------------


def test_a_condition_takes_one_way_and_goes_on_behind_both() -> None:
    """Ids stand behind it; steps that both ways end with are common."""
    steps = [
        {
            "id": "c",
            "type": "condition",
            "config": {
                "conditions": {"left": "{{ input.n }}", "operator": "gt", "right": "5"},
                "then": ["a", "z"],
                "else": "z",
            },
        },
        log("a"),
        log("z"),
    ]
    assert [name for name, _ in ran(compiled(*steps), {"n": 6})[1]] == ["a", "z"]
    assert [name for name, _ in ran(compiled(*steps), {"n": "5"})[1]] == ["z"]


def test_a_condition_that_fails_may_go_on() -> None:
    """By `else`, with the error as its output; or with a fallback, which may say otherwise."""
    ways = {"expression": "input.n + 1 > 2", "then": ["a"], "else": ["b"]}
    step = {"id": "c", "type": "condition", "config": ways}
    steps = [log("a", "{{ steps.c }}"), log("b", "{{ steps.c.error.code }}")]
    failing = {"n": "x"}
    assert ran(compiled(step, *steps), failing)[0].error == "States.QueryEvaluationError"
    made = compiled({**step, "errorHandling": "continue"}, *steps)
    assert ran(made, failing)[1] == [("b", {"message": "States.QueryEvaluationError"})]
    assert ran(made, {"n": 2})[1] == [("a", {"message": {"result": True}})]
    made = compiled({**step, "errorHandling": {"strategy": "retry", "fallback": {"result": True}}}, *steps)
    assert ran(made, failing)[1] == [("a", {"message": {"result": True}})]


def test_a_loop_may_run_several_at_once() -> None:
    """As many as it says; its results keep their places."""
    wait = {"id": "w", "type": "wait", "config": {"duration": "{{ item }}"}}
    loop = {"collection": [3000, 1000], "concurrency": 2, "steps": [wait, log("in", "{{ index }}")]}
    made = compiled({"id": "l", "type": "loop", "config": loop}, settings={"timeoutMs": 3500})
    assert made.definition["States"]["l"]["MaxConcurrency"] == 2
    got, calls = ran(made)
    assert [given["message"] for _, given in calls] == [1, 0]
    assert got.output["results"] == [{"message": 0}, {"message": 1}]


def test_nested_conditions_share_a_list() -> None:
    """The steps of the inner one belong to the way of the outer one."""

    def condition(name: str, field: str, **ways: Any) -> dict[str, Any]:
        test = {"left": f"{{{{ input.{field} }}}}", "operator": "eq", "right": True}
        return {"id": name, "type": "condition", "config": {"conditions": [test], **ways}}

    made = compiled(
        condition("o", "o", then=["i"], **{"else": ["x"]}),
        condition("i", "i", then=["a"], **{"else": ["b"]}),
        log("a"),
        log("b"),
        log("x"),
        log("z"),
    )
    assert [name for name, _ in ran(made, {"o": True, "i": True})[1]] == ["a", "z"]
    assert [name for name, _ in ran(made, {"o": True})[1]] == ["b", "z"]
    assert [name for name, _ in ran(made, {"i": True})[1]] == ["x", "z"]


def test_a_loop_gives_its_results_as_they_are() -> None:
    """Arrays in arrays are not joined, for one item neither, also where steps in it are read from outside."""
    for outside in ("none", "{{ steps.in.output }}"):
        made = compiled(
            {
                "id": "l",
                "type": "loop",
                "config": {
                    "collection": "{{ input }}",
                    "itemVariable": "each",
                    "steps": [{"id": "in", "type": "code", "config": {"expression": "each"}}],
                },
            },
            {"id": "t", "type": "transform", "config": {"all": "{{ steps.l.output }}", "last": outside}},
        )
        cases: list[list[Any]] = [[], [[1, [2]]], [[]], [None, {"a": [None]}], [5]]
        for items in cases:
            got = ran(made, items)[0]
            assert got.output["all"] == {"results": items, "count": len(items)}
            assert got.output["last"] == ("none" if outside == "none" else items[-1] if items else None)


def test_a_loop_has_a_limit_that_it_names() -> None:
    """More items fail the step, which says how many there may be."""
    loop = {"collection": "{{ input }}", "maxIterations": 2, "steps": [log("in")]}
    got = ran(compiled({"id": "l", "type": "loop", "config": loop}), [1, 2, 3])[0]
    assert got.status == "FAILED"
    assert got.error == "States.QueryEvaluationError"
    assert "Loop l has 3 items, more than maxIterations, 2" in str(got.cause)


def test_a_filter_of_one_is_a_collection() -> None:
    """An expression that finds one item or none is a list, as it is for more."""
    loop = {"collection": "{{ input.rows[on] }}", "steps": [log("in", "{{ item.n }}")]}
    made = compiled({"id": "l", "type": "loop", "config": loop})
    for on in (0, 1, 2):
        rows = [{"n": n, "on": n < on} for n in range(3)]
        assert [given["message"] for _, given in ran(made, {"rows": rows})[1]] == list(range(on))


def test_the_first_branch_wins() -> None:
    """The others are cancelled, and its steps alone have outputs."""
    slow = {"id": "slow", "type": "wait", "config": {"duration": 1, "unit": "hours"}}
    made = compiled(
        {
            "id": "p",
            "type": "parallel",
            "config": {"branches": [[slow, log("never")], [log("fast", [1])]], "waitForAll": False},
        },
        {"id": "t", "type": "transform", "config": {"a": "{{ steps.slow }}", "b": "{{ steps.fast.message }}"}},
    )
    got, calls = ran(made)
    assert [name for name, _ in calls] == ["fast"]
    assert got.output == {"a": None, "b": [1], "result": {"a": None, "b": [1]}}


def test_terminate_ends_the_run_from_within() -> None:
    """Past loops and branches that handle errors, and with its output."""
    for status in ("completed", "failed"):
        config = (
            {"output": {"n": "{{ item }}"}}
            if status == "completed"
            else {"status": "failed", "reason": "at {{ item }}"}
        )
        inner = {"id": "end", "type": "terminate", "config": config}
        loop = {
            "id": "l",
            "type": "loop",
            "config": {"collection": [7, 8], "steps": [inner]},
            "errorHandling": "continue",
        }
        made = compiled(
            {
                "id": "p",
                "type": "parallel",
                "config": {"branches": [[loop]]},
                "errorHandling": "retry",
                "timeoutMs": 99_000,
            },
            log("never"),
        )
        got, calls = ran(made)
        assert calls == []
        assert got.status == ("SUCCEEDED" if status == "completed" else "FAILED")
        assert (got.output, got.error, got.cause) == (
            ({"n": 7}, None, None) if status == "completed" else (None, "Run.Terminated", "at 7")
        )


def test_an_approval_of_two_needs_two_people() -> None:
    """The same one counts once; one who rejects decides."""
    step = {"id": "ap", "type": "approval", "config": {"required": 2, "timeoutHours": 1, "approvers": ["a@x.org"]}}
    yes = [{"approved": True, "approvedBy": by} for by in ("ann", "ann", "bob")]
    got, calls = ran(compiled(step), answers={"ap": yes})
    assert len(calls) == 3
    assert got.output["approvedBy"] == "bob"
    got, calls = ran(compiled(step), answers={"ap": [yes[0], {"decision": "reject", "comment": "no"}]})
    assert len(calls) == 2
    assert (got.output["approved"], got.output["comment"]) == (False, "no")
    got, calls = ran(compiled(step), answers={"ap": [yes[0], Unanswered()]})
    assert got.output == {"approved": False, "approvedBy": None, "approvedAt": None, "comment": None}


def test_an_approval_shows_what_is_asked() -> None:
    """The event of its wait has title, approvers and the rest, templates filled in."""
    config = {"title": "Pay {{ input.n }}?", "approvers": ["a@x.org"], "labels": {"approve": "Pay"}, "timeoutMs": 5000}
    got = ran(compiled({"id": "ap", "type": "approval", "config": config}), {"n": 5}, {"ap": Unanswered()})[0]
    [(opened, event)] = [(each, each.event) for each in got.events if isinstance(each.event, WaitOpened)]
    shown = {"title": "Pay 5?", "approvers": ["a@x.org"], "labels": {"approve": "Pay"}}
    assert opened.payload == {"parameters": shown}
    assert (event.state, event.due_at) == ("ap", opened.recorded_at + 5000)


def test_an_approval_may_fail_when_its_time_is_over() -> None:
    """If onTimeout says so, and the error can be handled."""
    step = {"id": "ap", "type": "approval", "config": {"onTimeout": "fail", "title": "{{ input.t }}"}}
    assert ran(compiled(step), answers={"ap": Unanswered()})[0].error == "States.Timeout"
    got = ran(compiled({**step, "errorHandling": "continue"}), answers={"ap": Unanswered()})[0]
    assert got.output["error"]["code"] == "States.Timeout"


def test_a_wait_keeps_its_milliseconds() -> None:
    """A machine's Wait takes an instant, which has them."""
    for config, waited in (({"duration": 1500}, 1500), ({"duration": 0.5, "unit": "minutes"}, 30_000)):
        made = compiled({"id": "w", "type": "wait", "config": config})
        assert ran(made)[0].output == {"waited": waited}
    made = compiled({"id": "w", "type": "wait", "config": {"duration": "{{ input.ms }}"}})
    assert ran(made, {"ms": 2500})[0].output == {"waited": 2500}
    made = compiled({"id": "w", "type": "wait", "config": {"until": "{{ $fromMillis($toMillis(now) + 60000) }}"}})
    assert ran(made)[0].output == {"waited": 60_000}


def test_mapping_rules_map() -> None:
    """Each way of changing a value, defaults for what is missing, and names with dots."""
    rules = [
        {"source": "name.first", "target": "who.first", "transform": "uppercase"},
        {"source": "name.last", "target": "who.last", "transform": "capitalize"},
        {"source": "mail", "target": "mail", "transform": "lowercase"},
        {"source": "note", "target": "note", "transform": "trim"},
        {"source": "n", "target": "n", "transform": "number"},
        {"source": "rows.0.id", "target": "id", "transform": "string"},
        {"source": "ok", "target": "ok", "transform": "boolean"},
        {"source": "day", "target": "day", "transform": "date"},
        {"source": "gone", "target": "gone", "default": "{{ input.name.first }}"},
        {"source": "list", "target": "list"},
    ]
    made = compiled({"id": "m", "type": "transform", "config": {"sourceData": "{{ input }}", "mappingRules": rules}})
    given = {
        "name": {"first": "ada", "last": "lovelace"},
        "mail": "A@B.C",
        "note": " x ",
        "n": "1.5",
        "rows": [{"id": 7}],
        "ok": "Yes",
        "day": 0,
        "list": [[1]],
    }
    mapped = {
        "who": {"first": "ADA", "last": "Lovelace"},
        "mail": "a@b.c",
        "note": "x",
        "n": 1.5,
        "id": "7",
        "ok": True,
        "day": "1970-01-01T00:00:00.000Z",
        "gone": "ada",
        "list": [[1]],
    }
    assert ran(made, given)[0].output == {**mapped, "result": mapped}


def test_a_child_gives_its_output() -> None:
    """Awaited, or only started."""
    config = {"workflowId": "billing", "input": {"n": "{{ input.n }}"}}
    made = compiled({"id": "w", "type": "workflow", "config": config})
    got, calls = ran(made, {"n": 3}, {"w": {"Output": {"paid": True}}})
    assert calls == [("w", {"StateMachineArn": "billing", "Input": {"n": 3}})]
    assert got.output == {"paid": True}
    made = compiled({"id": "w", "type": "workflow", "config": {"workflowId": "billing", "waitForCompletion": False}})
    assert ran(made, answers={"w": {"ExecutionArn": "e1"}})[0].output == {"runId": "e1"}


def test_a_webhook_has_an_envelope() -> None:
    """Of such a document `input` is the body, and `trigger` all of it; elsewhere `trigger.body` is the input."""
    step = {
        "id": "t",
        "type": "transform",
        "config": {"a": "{{ input.x }}", "b": "{{ trigger.body.x }}", "c": "{{ trigger.method }}"},
    }
    enveloped = compiled(step, trigger={"type": "webhook", "provider": "stripe", "events": ["a.b"]})
    assert enveloped.is_enveloped
    got = ran(enveloped, {"body": {"x": 1}, "headers": {}, "query": {}, "method": "POST"})[0]
    assert got.output["result"] == {"a": 1, "b": 1, "c": "POST"}
    assert ran(compiled(step), {"x": 1})[0].output["result"] == {"a": 1, "b": 1, "c": None}


def test_variables_have_defaults() -> None:
    """A text that looks like an expression is none."""
    step = {"id": "t", "type": "transform", "config": {"a": "{{ variables.rate }}", "b": "{{ variables['odd one'] }}"}}
    made = compiled(step, variables={"rate": [1], "odd one": "{% $states.context %}", "unread": 1})
    assert ran(made)[0].output["result"] == {"a": [1], "b": "{% $states.context %}"}


def test_credentials_stay_references() -> None:
    """The states that name them are told, and nothing is put in."""
    step = {
        "id": "h",
        "type": "http_request",
        "config": {"url": "https://x", "headers": {"A": "Bearer {{ credentials.K }}"}},
    }
    made = compile_steps(document(step), actions=LENIENT_FORMS, has_credentials=True)
    assert made.credentials == {"h": ("K",)}
    assert made.definition["States"]["h"]["Arguments"]["headers"] == {"A": "Bearer {{credentials.K}}"}


def test_errors_may_be_handled() -> None:
    """Going on leaves the error as the output, a fallback takes its place, and retries come first."""
    failing = {"a": [Failed("Boom", "why"), Failed("Boom", "why"), {"ok": 1}]}
    got = ran(compiled(log("a", errorHandling="continue"), log("b", "{{ steps.a.error }}")), answers=failing)
    assert got[1][-1] == ("b", {"message": {"code": "Boom", "message": "why"}})
    got = ran(
        compiled(log("a", errorHandling={"strategy": "continue", "fallback": {"x": "{{ input.y }}"}})),
        {"y": 2},
        failing,
    )
    assert got[0].output == {"x": 2}
    got = ran(compiled(log("a", retryConfig={"maxAttempts": 3, "initialDelayMs": 10})), answers=failing)
    assert (got[0].output, len(got[1])) == ({"ok": 1}, 3)
    plan = {"strategy": "retry", "fallback": "none"}
    got = ran(compiled(log("a", errorHandling=plan, retryConfig={"maxAttempts": 2})), answers=failing)
    assert (got[0].output, len(got[1])) == ("none", 2)


def test_steps_that_call_nothing_are_handled_too() -> None:
    """An expression that fails is an error like any other."""
    step = {"id": "c", "type": "code", "config": {"expression": "1 + input.x"}}
    assert ran(compiled(step), {"x": "a"})[0].error == "States.QueryEvaluationError"
    got = ran(compiled({**step, "errorHandling": "continue"}, log("b", "{{ steps.c.error.code }}")), {"x": "a"})
    assert got[1] == [("b", {"message": "States.QueryEvaluationError"})]


def test_a_loop_may_have_a_time_limit() -> None:
    """Its iterations are cancelled, and the step fails; within the limit its output is its own."""
    wait = {"id": "w", "type": "wait", "config": {"duration": "{{ item }}"}}
    loop = {"id": "l", "type": "loop", "timeoutMs": 2500, "config": {"collection": "{{ input }}", "steps": [wait]}}
    made = compiled(loop, log("b", "{{ steps.w }} {{ steps.l.count }}"))
    assert ran(made, [1000, 1000, 1000])[0].error == "States.Timeout"
    assert ran(made, [1000, 1000])[1] == [("b", {"message": '{"waited":1000} 2'})]
