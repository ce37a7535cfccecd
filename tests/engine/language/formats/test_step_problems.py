"""Step documents that are wrong: each problem points to its place, and says what is accepted or was meant."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.engine.language import problems
from perdure.engine.language.formats.flow import DocumentError
from perdure.engine.language.formats.step_list import STEPS_MAX, compile_steps
from perdure.engine.steps.action_forms import ACTION_FORMS


def document(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "test", "steps": list(steps), **more}


def log(name: str, message: Any = "m", **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "log", "config": {"message": message}, **more}


REFUSED: list[tuple[Any, str, str]] = [
    ([], "", "a document is a JSON object"),
    ("{", "", "not JSON"),
    ({"steps": [log("a")]}, "", "name is missing"),
    ({"name": "x"}, "/steps", "one or more steps"),
    ({"name": "x", "steps": []}, "/steps", "one or more steps"),
    ({"name": "x", "step": [], "steps": [log("a")]}, "/step", "Did you mean 'steps'?"),
    ({"name": "x", "steps": [[]]}, "/steps/0", "a step must be an object"),
    (document({"type": "log", "config": {"message": "m"}}), "/steps/0", "id is missing"),
    (document({"id": "a"}), "/steps/0", "type is missing"),
    (document(log("a"), log("a")), "/steps/1/id", "another step has the id 'a'"),
    (document({**log("a"), "type": "lgo"}), "/steps/0/type", "Did you mean 'log' or"),
    (document({**log("a"), "type": "condtion"}), "/steps/0/type", "Did you mean 'condition' or"),
    (document({**log("a"), "type": "agent"}), "/steps/0/type", "agent is not there yet: it comes with agents"),
    (document({**log("a"), "type": "slack"}), "/steps/0/type", "slack is not there yet: it comes with connections"),
    (document({**log("a"), "type": "action"}), "/steps/0", "action is missing"),
    (
        document({**log("a"), "type": "action", "action": "send_email"}),
        "/steps/0/action",
        "send_email is not there yet",
    ),
    (document({**log("a"), "action": "log"}), "/steps/0/action", "belongs to steps of type action"),
    (document({**log("a"), "url": "x"}), "/steps/0/url", "stands in config"),
    (document({**log("a"), "errorHandeling": "x"}), "/steps/0/errorHandeling", "Did you mean 'errorHandling'?"),
    (document(log("a", errorHandling="contine")), "/steps/0/errorHandling", "Did you mean 'continue'?"),
    (
        document(log("a", errorHandling={"strategy": "fail", "fallback": 1})),
        "/steps/0/errorHandling/fallback",
        "belongs to",
    ),
    (
        document(log("a", errorHandling={"stratgy": "fail"})),
        "/steps/0/errorHandling/stratgy",
        "Did you mean 'strategy'?",
    ),
    (
        document(log("a", errorHandling="fail", retryConfig={})),
        "/steps/0/retryConfig",
        "belongs to errorHandling retry",
    ),
    (document(log("a", retryConfig={"maxAttempts": 0})), "/steps/0/retryConfig/maxAttempts", "from 1 to 1000"),
    (document(log("a", retryConfig={"backoff": 0})), "/steps/0/retryConfig/backoff", "Did you mean 'backoffMs'"),
    (
        document(log("a", retryConfig={"backoffMs": 5, "initialDelayMs": 5})),
        "/steps/0/retryConfig/initialDelayMs",
        "the same",
    ),
    (document(log("a", timeoutMs="5")), "/steps/0/timeoutMs", "must be a number"),
    (document({"id": "a", "type": "log", "config": {}}), "/steps/0/config", "message is missing"),
    (
        document({"id": "a", "type": "log", "config": {"message": "m", "lvl": 1}}),
        "/steps/0/config/lvl",
        "unknown member",
    ),
    (document(log("a", 5)), "/steps/0/config/message", "must be of type string"),
    (
        document({"id": "a", "type": "log", "config": {"message": "m", "level": "inof"}}),
        "/steps/0/config/level",
        "Did you mean 'info'?",
    ),
    (
        document({"id": "h", "type": "http_request", "config": {"url": "http://x", "auth": {"type": "basic"}}}),
        "/steps/0/config/auth",
        "username is missing",
    ),
    (
        document({"id": "h", "type": "http_request", "config": {"url": "{{ input.u }}", "json": 1, "form": {}}}),
        "/steps/0/config",
        "json and form cannot stand together",
    ),
    (
        document({"id": "h", "type": "http_request", "config": {"url": "u", "pagination": {"typ": "{{ input.t }}"}}}),
        "/steps/0/config/pagination/typ",
        "Did you mean 'type'?",
    ),
    (document({"id": "a", "type": "log", "config": []}), "/steps/0/config", "must be an object"),
    (document(log("a", "{{ inpt.x }}")), "/steps/0/config/message", "Did you mean 'input'?"),
    (document(log("a", ["x", "{{ steps.b }}"])), "/steps/0/config/message/1", "there is no step 'b'"),
    (document(log("a", "{{ item }}")), "/steps/0/config/message", "it is there in the steps of a loop"),
    (document(log("a", "{{ credentials.K }}")), "/steps/0/config/message", "not supported yet"),
    (
        document({**log("a"), "config": {"message": "m", "connectionId": "x"}}),
        "/steps/0/config/connectionId",
        "connections",
    ),
    (document(log("a"), trigger={"type": "cron"}), "/trigger/type", "must be one of"),
    (document(log("a"), trigger={"type": "schedule"}), "/trigger", "a cron or an interval"),
    (document(log("a"), trigger={"type": "form"}), "/trigger", "formId is missing"),
    (document(log("a"), trigger={"type": "api", "pth": "x"}), "/trigger/pth", "unknown member"),
    (document(log("a"), settings={"timeout": 5}), "/settings/timeout", "Did you mean 'timeoutMs'?"),
    (document({"id": "t", "type": "terminate"}, log("a")), "/steps/1", "cannot be reached"),
    (
        document({"id": "t", "type": "terminate", "config": {"status": "done"}}),
        "/steps/0/config/status",
        "must be one of",
    ),
    (
        document({"id": "t", "type": "terminate", "errorHandling": "retry"}),
        "/steps/0/errorHandling",
        "no error handling",
    ),
    (
        document({"id": "t", "type": "terminate", "config": {"status": "failed", "output": 1}}),
        "/steps/0/config/output",
        "reason",
    ),
    (document({"id": "w", "type": "wait", "config": {}}), "/steps/0/config", "a duration or until"),
    (document({"id": "w", "type": "wait", "config": {"duration": -1}}), "/steps/0/config/duration", "must be a number"),
    (
        document({"id": "w", "type": "wait", "config": {"duration": 1, "unit": "second"}}),
        "/steps/0/config/unit",
        "Did you mean 'seconds'",
    ),
    (
        document({"id": "w", "type": "wait", "config": {"until": "tomorrow"}}),
        "/steps/0/config/until",
        "must be an instant",
    ),
    (document({"id": "l", "type": "loop", "config": {"collection": []}}), "/steps/0/config/steps", "one or more steps"),
    (
        document({"id": "l", "type": "loop", "config": {"steps": [log("a")]}}),
        "/steps/0/config",
        "collection is missing",
    ),
    (
        document({"id": "l", "type": "loop", "config": {"collection": "x", "steps": [log("a")]}}),
        "/steps/0/config/collection",
        "a list",
    ),
    (
        document(
            {"id": "l", "type": "loop", "config": {"collection": [], "itemVariable": "input", "steps": [log("a")]}}
        ),
        "/steps/0/config/itemVariable",
        "means something else",
    ),
    (document({"id": "p", "type": "parallel", "config": {}}), "/steps/0/config/branches", "one or more branches"),
    (
        document({"id": "p", "type": "parallel", "config": {"branches": [[]]}}),
        "/steps/0/config/branches/0",
        "one or more steps",
    ),
    (document({"id": "a", "type": "approval", "config": {"required": 0}}), "/steps/0/config/required", "from 1 to 100"),
    (
        document({"id": "a", "type": "approval", "config": {"tittle": 0}}),
        "/steps/0/config/tittle",
        "Did you mean 'title'",
    ),
    (
        document({"id": "a", "type": "approval", "config": {"notifyChannels": {}}}),
        "/steps/0/config/notifyChannels",
        "not supported",
    ),
    (document({"id": "w", "type": "workflow", "config": {}}), "/steps/0/config", "workflowId is missing"),
    (document({"id": "c", "type": "code", "config": {}}), "/steps/0/config", "expression is missing"),
    (
        document({"id": "c", "type": "code", "config": {"expression": "1 +"}}),
        "/steps/0/config/expression",
        "ends too early",
    ),
    (document({"id": "c", "type": "condition", "config": {}}), "/steps/0/config", "conditions or an expression"),
    (
        document({"id": "c", "type": "condition", "config": {"conditions": {"left": "input.n", "operator": "exists"}}}),
        "/steps/0/config/conditions/left",
        "to read it write {{ input.n }}",
    ),
    (
        document(*({"id": name, "type": "wait_for_resume", "config": {"name": "same"}} for name in "ab")),
        "/steps/1/config/name",
        "the name of another wait",
    ),
    (
        document(
            {"id": "c", "type": "condition", "config": {"conditions": {"left": 1, "operator": "eqq", "right": 1}}}
        ),
        "/steps/0/config/conditions/operator",
        "Did you mean 'eq'",
    ),
    (
        document(
            {"id": "c", "type": "condition", "config": {"conditions": [{"and": [{"left": 1, "operator": "eq"}]}]}}
        ),
        "/steps/0/config/conditions/0/and/0",
        "right is missing",
    ),
    (
        document(
            {"id": "c", "type": "condition", "config": {"conditions": {"left": 1, "operator": "matches", "right": "("}}}
        ),
        "/steps/0/config/conditions/right",
        "no regular expression",
    ),
    (
        document({"id": "c", "type": "condition", "config": {"expression": "{{ true }}", "then": ["b"]}}, log("a")),
        "/steps/0/config/then",
        "there is no step 'b'",
    ),
    (
        document(
            {"id": "c", "type": "condition", "config": {"expression": "{{ true }}", "then": ["b"]}}, log("a"), log("b")
        ),
        "/steps/0/config/then",
        "must stand right behind the condition",
    ),
    (
        document(
            {"id": "c", "type": "condition", "config": {"expression": "{{ true }}", "then": ["b", "a"]}},
            log("a"),
            log("b"),
        ),
        "/steps/0/config/then",
        "another order",
    ),
    (
        document({"id": "m", "type": "transform", "config": {"mappingRules": [{"source": "a", "traget": "b"}]}}),
        "/steps/0/config/mappingRules/0/traget",
        "Did you mean 'target'?",
    ),
    (document(*(log(f"s{n}") for n in range(STEPS_MAX + 1))), f"/steps/{STEPS_MAX}", "at most 1000 steps"),
]


@pytest.mark.parametrize(("source", "pointer", "says"), REFUSED, ids=lambda value: str(value)[-60:])
def test_what_is_wrong_is_named(source: Any, pointer: str, says: str) -> None:
    """Each problem points into the document, and says what is accepted or was meant."""
    with pytest.raises(DocumentError) as raised:
        compile_steps(source, actions=ACTION_FORMS)
    found = [(problem.path, problem.message) for problem in raised.value.problems]
    assert any(at == pointer and says in message for at, message in found), found


def test_all_problems_are_told_at_once() -> None:
    """A misspelt member hides no other."""
    source = document(log("a", "{{ x }}", errorHandlin="fail"), {"id": "b", "type": "nope"}, trigge={})
    with pytest.raises(DocumentError) as raised:
        compile_steps(source, actions=ACTION_FORMS)
    assert [problem.path for problem in raised.value.problems] == [
        "/trigge",
        "/steps/0/errorHandlin",
        "/steps/1/type",
        "/steps/0/config/message",
    ]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.sampled_from(["a", "{{ input.x }}", "{{", "log", "loop", "action"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "type", "config", "steps", "branches", "then", "else", "conditions", "left", "operator", "and"]
            )
            | st.sampled_from(
                ["collection", "errorHandling", "retryConfig", "message", "mappingRules", "source", "x", "expression"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = (
    "log",
    "condition",
    "loop",
    "parallel",
    "wait",
    "approval",
    "transform",
    "code",
    "workflow",
    "terminate",
    "action",
)


@given(st.lists(st.tuples(st.sampled_from(KINDS), JSON, JSON), max_size=3), JSON)
@settings(max_examples=25, deadline=None)
def test_any_document_compiles_or_has_problems(parts: list[Any], more: Any) -> None:
    """Whatever the JSON, the one error is that of the document, and what compiles is a valid definition."""
    steps = [
        {"id": f"s{index}", "type": kind, "config": config, "errorHandling": handling}
        for index, (kind, config, handling) in enumerate(parts)
    ]
    for source in ({"name": "x", "steps": steps}, {"name": "x", "steps": more}, more, json.dumps(more)):
        try:
            made = compile_steps(source, actions=ACTION_FORMS)
        except DocumentError:
            continue
        assert problems(made.definition, is_compiled=True) == []
