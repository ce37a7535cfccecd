"""Records of steps: what each part of a run's log comes to, for somebody who thinks in steps."""

from __future__ import annotations

from typing import Any

from perdure.engine.core.events import Recorded
from perdure.engine.history.approvals import approvals_of
from perdure.engine.history.handlers import follow
from perdure.engine.history.step_records import RunSteps, StepRecord, all_steps, read_steps
from perdure.engine.history.step_runs import placed
from perdure.engine.language.formats.flow import CompiledDocument, DocumentOutline
from perdure.engine.language.formats.graph import compile_graph
from perdure.engine.language.formats.step_list import compile_steps
from perdure.engine.steps.action_forms import ACTION_FORMS
from perdure.engine.testing import Failed, Succeeded, TaskRequest, Unanswered, simulate

START = 1_750_000_000_000


def compiled(*steps: dict[str, Any]) -> CompiledDocument:
    return compile_steps({"name": "w", "trigger": {"type": "api"}, "steps": list(steps)}, actions=ACTION_FORMS)


def log(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "log", "config": {"message": name}, **more}


def events_of(document: CompiledDocument, run_input: Any = None, **answers: list[Any]) -> list[Recorded]:
    """Run a document; the answers of a step are taken in turn, the last one for ever; a text is an error's name."""
    answers = {step: list(given) for step, given in answers.items()}

    def tasks(request: TaskRequest) -> Succeeded | Failed | Unanswered:
        given = answers.get(document.states[request.state], [{"ok": True}])
        found = given.pop(0) if len(given) > 1 else given[0]
        if found is None:
            return Unanswered()
        return Failed(found, "so it said") if isinstance(found, str) else Succeeded(found)

    return simulate(document.definition, run_input, tasks=tasks).events


def records(document: CompiledDocument, run_input: Any = None, **answers: list[Any]) -> RunSteps:
    return read_steps(events_of(document, run_input, **answers), document.outline)


def words(steps: tuple[StepRecord, ...]) -> dict[str, str]:
    return {step.id: step.status for step in steps}


def test_a_step_has_its_times_and_what_it_was_called_with() -> None:
    """Input is the parameters, output what it gave."""
    (step,) = records(compiled(log("a")), a=[{"x": 1}]).steps
    assert (step.status, step.type, step.input, step.output) == ("completed", "log", {"message": "a"}, {"x": 1})
    assert (step.started_at, step.completed_at, step.duration_ms, step.error) == (START, START, 0, None)
    assert [attempt.attempt for attempt in step.attempts] == [1]


def test_each_attempt_is_told() -> None:
    """Those that failed with their errors and times, and the pause between."""
    (step,) = records(compiled(log("a", errorHandling="retry")), a=["Boom", "Boom", {"x": 1}]).steps
    assert step.status == "completed"
    assert step.error is None
    assert [(each.started_at, each.error and each.error.code) for each in step.attempts] == [
        (START, "Boom"),
        (START + 1000, "Boom"),
        (START + 3000, None),
    ]


def test_a_step_that_is_to_be_tried_again_is_retrying() -> None:
    """Between two attempts it is neither failed nor running."""
    document = compiled(log("a", errorHandling="retry"), log("b"))
    events = events_of(document, a=["Boom", {"x": 1}])
    until = next(number for number, each in enumerate(events) if type(each.event).__name__ == "TaskFailed")
    found = read_steps(events[: until + 1], document.outline).steps
    assert words(found) == {"a": "retrying", "b": "pending"}
    assert words(read_steps(events[:until], document.outline).steps) == {"a": "running", "b": "pending"}


def test_a_path_that_is_not_taken_is_skipped_at_once() -> None:
    """While the run goes on; what is after both paths is pending."""
    condition = {
        "id": "c",
        "type": "condition",
        "config": {"conditions": {"left": 1, "operator": "eq", "right": 1}, "then": ["t"], "else": ["e"]},
    }
    document = compiled(condition, log("t"), log("e"), log("z"))
    running = read_steps(events_of(document, t=[None], e=[None]), document.outline).steps
    assert words(running) == {"c": "completed", "t": "running", "e": "skipped", "z": "pending"}


def test_what_an_ended_run_never_came_to_is_skipped() -> None:
    """And the step that failed it says with what code."""
    found = records(compiled(log("a"), log("b")), a=["States.TaskFailed"]).steps
    assert words(found) == {"a": "failed", "b": "skipped"}
    assert found[0].error == ("STEP_FAILED", "so it said")


def test_a_step_may_fail_and_the_run_go_on() -> None:
    """Its output is what took its place."""
    found = records(compiled(log("a", errorHandling="continue"), log("b")), a=["Boom"]).steps
    assert words(found) == {"a": "failed", "b": "completed"}
    assert found[0].output == {"error": {"code": "Boom", "message": "so it said"}}


def test_iterations_and_branches_have_records_of_their_own() -> None:
    """Each iteration that began, and each branch, with the time limit of the loop out of sight."""
    loop = {"id": "l", "type": "loop", "config": {"collection": "{{ input }}", "steps": [log("x")]}, "timeoutMs": 60000}
    both = {"id": "p", "type": "parallel", "config": {"branches": [[log("y")], [log("z")]]}}
    first, second = records(compiled(loop, both), [7, 8]).steps
    assert [(part.kind, part.number, words(part.steps)) for part in first.parts] == [
        ("iteration", 0, {"x": "completed"}),
        ("iteration", 1, {"x": "completed"}),
    ]
    assert [(part.kind, part.number, words(part.steps)) for part in second.parts] == [
        ("branch", 0, {"y": "completed"}),
        ("branch", 1, {"z": "completed"}),
    ]
    assert (first.status, len(first.attempts), first.output["count"]) == ("completed", 1, 2)


def test_a_loop_without_items_and_branches_that_never_ran() -> None:
    """The one has no parts, the others are skipped in theirs."""
    loop = {"id": "l", "type": "loop", "config": {"collection": "{{ input }}", "steps": [log("x")]}}
    both = {"id": "p", "type": "parallel", "config": {"branches": [[log("y")], [log("z")]]}}
    end = {"id": "t", "type": "terminate", "config": {"output": 1}}
    gone = {"id": "c", "type": "condition", "config": {"expression": "{{ input }}", "then": [], "else": ["p"]}}
    found = records(compiled(loop, log("b", errorHandling="fail"), gone, both, end), [], b=["Boom"]).steps
    assert found[0].parts == ()
    assert [words(part.steps) for part in found[3].parts] == [{"y": "skipped"}, {"z": "skipped"}]


def test_the_first_branch_wins_and_the_others_are_cut_short() -> None:
    """The step itself has not failed, though its state did."""
    slow = {"id": "w", "type": "wait", "config": {"duration": 5000}}
    race = {"id": "p", "type": "parallel", "config": {"branches": [[log("y")], [slow]], "waitForAll": False}}
    (step,) = records(compiled(race)).steps
    assert (step.status, step.error) == ("completed", None)
    cut = step.parts[1].steps[0]
    assert (cut.status, cut.error and cut.error.code) == ("failed", "CANCELLED")


def test_a_time_limit_fails_its_step() -> None:
    """By a code of its own."""
    slow = {"id": "w", "type": "wait", "config": {"duration": 5000}, "timeoutMs": 1000}
    (step,) = records(compiled(slow)).steps
    assert (step.status, step.error and step.error.code, step.duration_ms) == ("failed", "TIMED_OUT", 1000)


def test_without_an_outline_each_state_is_a_step() -> None:
    """In a cycle it says how often it ran."""
    definition = {
        "StartAt": "A",
        "States": {
            "A": {"Type": "Task", "Resource": "log", "Next": "B"},
            "B": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.again", "BooleanEquals": True, "Next": "A"}],
                "Default": "C",
            },
            "C": {"Type": "Succeed"},
        },
    }
    given = [{"again": True}, {"again": False}]
    got = simulate(definition, {}, tasks=lambda _: Succeeded(given.pop(0)))
    found = read_steps(got.events, DocumentOutline.of_definition(definition)).steps
    assert [(step.id, step.type, step.runs, step.status) for step in found] == [
        ("A", "Task", 2, "completed"),
        ("B", "Choice", 2, "completed"),
        ("C", "Succeed", 1, "completed"),
    ]


def test_a_graph_shows_its_branches() -> None:
    """The fork that its edges make is a step with parts."""
    graph = {
        "name": "g",
        "nodes": [
            {"id": name, "type": "log", "config": {"message": name}} for name in ("start", "left", "right", "meet")
        ],
        "edges": [
            {"source": "start", "target": "left"},
            {"source": "start", "target": "right"},
            {"source": "left", "target": "meet"},
            {"source": "right", "target": "meet"},
        ],
    }
    document = compile_graph(graph, actions=ACTION_FORMS)
    found = {step.id: step.status for step in all_steps(records(document).steps)}
    assert {found[name] for name in ("start", "left", "right", "meet")} == {"completed"}


def test_erased_payloads_are_null() -> None:
    """All else stays."""
    document = compiled(log("a"), log("b"))
    events = [
        Recorded(each.seq, each.recorded_at, each.actor, each.caused_by, each.event, None)
        for each in events_of(document, {"x": 1}, a=["Boom"])
    ]
    first, second = read_steps(events, document.outline).steps
    assert (first.status, first.input, first.output, first.error) == ("failed", None, None, ("STEP_FAILED", None))
    assert second.status == "skipped"


def test_what_is_not_known_is_not_said() -> None:
    """Where events are missing, a step that may have run in them is left out, and not called skipped."""
    document = compiled(log("a"), log("b"), log("c"))
    events = events_of(document)
    cut = next(each.seq for each in events if getattr(each.event, "state", None) == "b")
    found = read_steps([each for each in events if each.seq >= cut], document.outline)
    assert (words(found.steps), found.truncated) == ({"b": "completed", "c": "completed"}, True)


def test_records_are_bounded() -> None:
    """What is left out is said."""
    loop = {"id": "l", "type": "loop", "config": {"collection": "{{ input }}", "steps": [log("x")]}}
    document = compiled(loop, log("b"))
    found = read_steps(events_of(document, list(range(10))), document.outline, records_max=5)
    assert found.truncated
    assert len(list(all_steps(found.steps))) == 5
    assert not records(document, [1]).truncated


def test_approvals_are_told_with_their_answers() -> None:
    """Two people are asked, and each answer is there; one whose time is over expired, and the step completed."""
    two = {"id": "a", "type": "approval", "config": {"title": "Pay?", "required": 2, "approvers": ["ann", "bob"]}}
    late = {"id": "b", "type": "approval", "config": {"timeoutMs": 1000}}
    document = compiled(two, late)
    said = [{"approved": True, "approvedBy": "ann"}, {"decision": "approve", "approvedBy": "bob", "comment": "ok"}]
    timeline = follow(events_of(document, a=said, b=[None]))
    first, second = approvals_of(timeline, document.outline, placed(timeline, document.states))
    assert (first.step_id, first.title, first.required, first.status) == ("a", "Pay?", 2, "approved")
    assert first.approvers == ("ann", "bob")
    assert [(each.decision, each.by, each.comment) for each in first.answers] == [
        ("approve", "ann", None),
        ("approve", "bob", "ok"),
    ]
    assert (len(first.waits), first.id) == (2, first.waits[0])
    assert (second.status, second.answers, second.open_wait) == ("expired", (), None)
    assert second.due_at == second.requested_at + 1000
    steps = records(document, a=list(said), b=[None]).steps
    assert (steps[0].status, steps[0].runs, steps[1].status) == ("completed", 1, "completed")
    assert steps[1].output["approved"] is False
