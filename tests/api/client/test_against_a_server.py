"""Both clients against the real app on loopback: every route, every result, pages, followed events."""

from __future__ import annotations

import importlib
import threading
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import inspect as types

from perdure.api.app import ROUTES
from perdure.api.client import (
    AmbiguousWait,
    Client,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    NotWaiting,
    Unauthorized,
    UnnamedWait,
)
from perdure.api.client.exchange import decoder
from perdure.api.client.results import Data, Item
from tests.api.client.conftest import Connect
from tests.cli.conftest import APPROVAL, KEY, NAME
from tests.present import present

BESIDE_THE_DOCUMENT = {("GET", "/metrics")}
"""A format of its own: it is no part of the OpenAPI document."""

TWO_AT_ONCE: dict[str, Any] = {
    "StartAt": "Both",
    "States": {
        "Both": {
            "Type": "Parallel",
            "End": True,
            "Branches": [
                {"StartAt": name, "States": {name: {"Type": "Task", "Resource": "wait_for_resume", "End": True}}}
                for name in ("Left", "Right")
            ],
        }
    },
}


def test_every_route_has_a_method_and_every_answer_its_type(client: Any, token: str) -> None:
    """The calls of all methods are the routes of the document, no more and no fewer; results are as it describes."""
    call_everything(client, token)
    call_schedules(client, client.apply_workflow("timed", APPROVAL).id)
    call_documents(client)
    call_executions(client)
    called = {(call.method, call.path) for call in client.calls}
    assert called == {(route.method, route.path) for route in ROUTES} | BESIDE_THE_DOCUMENT
    answers = {(route.method, route.path): route.answer for route in ROUTES}
    for call in client.calls:
        answer = answers.get((call.method, call.path))
        if answer not in (None, str):
            around = around_it(call.reply)[call.envelope]
            compare(types.type_info(around), types.type_info(answer), f"{call.method} {call.path}")


def around_it(reply: Any) -> dict[str | None, Any]:
    """What a result of that type is within, by the name that it has there."""
    enveloped: Any = {"data": Data, "item": Item}
    return {None: reply} | {name: envelope[reply] for name, envelope in enveloped.items()}


def call_schedules(client: Any, workflow_id: str) -> None:
    """Make each call about schedules of a workflow once, and pause the workflow and let it go on."""
    daily = {"cron_expression": "0 9 * * *", "timezone": "Asia/Tokyo"}
    assert client.change_workflow(workflow_id, trigger=daily).trigger_type == "schedule"
    schedule = client.create_schedule(workflow_id, {"interval": {"value": 2, "unit": "days"}, "input": {"amount": 1}})
    assert client.change_schedule(workflow_id, schedule.id, {"overlap": "skip"}).interval.value == 2
    assert client.run_schedule(workflow_id, schedule.id).process_id.startswith(f"schedule:{schedule.id}@")
    assert client.toggle_schedules(workflow_id, 1, "PAUSE").status == "PAUSED"
    assert [each.status for each in client.schedules(workflow_id)] == ["paused", "paused"]
    assert client.remove_schedule(workflow_id, schedule.id).removed
    assert client.pause_workflow(workflow_id).status == "paused"
    assert client.unpause_workflow(workflow_id).status == "published"


def call_as_operator(client: Any) -> None:
    """The calls about the organization, whose settings are changed and back, and about the clock."""
    changed = [client.change_organization({"concurrencyLimit": limit}).settings for limit in (7, None)]
    assert changed[-1] == client.organization().settings
    assert client.change_organization({"quotas": {"openRuns": 9}}).settings.quotas.open_runs == 9
    assert client.change_organization({"quotas": None}).settings == changed[-1]
    assert client.change_organization(plan="business").plan == "business"
    own = client.organization()
    assert client.change_any_organization(own.id, plan="unlimited").plan == client.any_organization(own.id).plan
    assert (client.clock().is_trusted, client.clock().problem) == (True, None)
    assert client.accept_clock(step_ms=3_600_000).message == client.accept_clock().message == "nothing to accept"


def call_pauses(client: Any, workflow_id: str) -> None:
    """Pause the newest run, look at that, and let it go on."""
    assert client.pause("R3", "look", clocks="freeze").message == "paused"
    pause = client.pause_of("R3").pause
    assert (pause.reason, pause.clocks, pause.quiescent) == ("look", "freeze", True)
    assert (
        client.execution(
            workflow_id, client.history(workflow_id, limit=1).items[0].workflow_execution_id
        ).pause.in_flight
        == 0
    )
    assert client.unpause("R3").message == "unpaused"
    assert client.executions(limit=1).count == 1


def call_everything(client: Any, token: str) -> None:  # noqa: PLR0915 a line a call
    """Make each call once, and look at what it gives."""
    made = client.create_workflow("another", APPROVAL, description="d", mock_payload={"amount": 1}, resume="any")
    assert (made.status, made.warnings, made.definition) == ("published", [], APPROVAL)
    assert client.apply_workflow("another", APPROVAL).outcome == "unchanged"
    assert client.change_workflow(made.id, definition={**APPROVAL, "Comment": "x"}, status="draft").version == 2
    assert client.publish_workflow(made.id).published_at is not None
    assert client.workflow(made.id, version=1).shown_version == 1
    assert client.workflows(search="anoth", limit=1).meta.total == 1
    assert client.workflow_version(made.id, 2).latest == "true"
    assert client.workflow_schema(made.id, 1).workflow_mock_payload == {"amount": 1}
    assert client.workflow_versions(limit=1).last_key.workflow_id == made.id

    run = client.trigger(made.id, {"amount": 500}, process_id="R/1").execution_id
    assert client.trigger(made.id, {"amount": 500}, process_id="R/1").execution_id == run
    client.trigger(made.id, {"amount": 500, "process_id": "R.2"}, version=1)
    (wait,) = client.waits(process_id="R/1").data
    assert client.resume("R/1", ["any", None], wait_id=wait.wait_id).message == "restarted"
    assert client.resume_workflow("R.2", {"source": "SAP"}, state="Ask", hold_s=1).message == "restarted"
    shown = client.execution(made.id, run)
    assert (shown.status, shown.process_id) == ("completed", "R/1")
    assert shown.workflow_output_payload == {"amount": 500, "approval": ["any", None]}
    client.trigger(made.id, {"amount": 500}, process_id="R3")
    call_pauses(client, made.id)
    assert client.terminate("R3", {"termination_reason": "twice"}).message == "terminated"
    assert client.terminate_workflow("R3").message == "already terminated"
    with pytest.raises(Conflict, match="not quarantined"):
        client.release("R3")
    assert client.history(made.id, limit=2).last_key.workflow_id == made.id
    call_about_many(client, made.id)
    told = client.execution_events("R3", order="desc", limit=1, types=["ExecutionTerminated"], payloads="digest").data
    assert told[0].payload is msgspec.UNSET
    assert len(client.events(limit=3, payloads="full").data) == 3

    assert client.keep_task_alive(token).message == "alive"
    assert client.fail_task(token, "No.Such", "why").then.kind == "end"
    with pytest.raises(Conflict):
        client.complete_task(token, None)
    state = {"Type": "Pass", "Result": 7, "Next": "Other"}
    tried = client.try_state(state, {})
    assert client.action("log") in client.actions()
    assert (tried.status, tried.output, tried.next_state) == ("SUCCEEDED", 7, "Other")

    key = client.create_key("k", ["runs.view"], expires_at=datetime(2099, 1, 1, tzinfo=UTC))
    assert (key.key[:4], key.expires_at) == ("wfk_", "2099-01-01T00:00:00.000Z")
    assert key.key not in repr(key)
    call_about_keys(client)
    assert client.keys(limit=1).meta.has_more
    assert client.revoke_key(key.id, with_children=True).revoked_at == client.revoke_key(key.id).revoked_at
    assert client.archive_workflow(made.id).status == client.archive_workflow(made.id).status == "archived"
    call_as_operator(client)
    assert (client.live().status, client.ready().status) == ("live", "ready")
    assert "perdure_runs_total" in client.metrics()
    assert client.openapi()["openapi"] == "3.1.1"
    assert "<html" in client.docs()


def call_about_keys(client: Any) -> None:
    """Ask who one is, and make a key of a person's, for tests."""
    mine = client.me()
    assert (mine.mode, mine.plan, mine.user_id) == ("live", "unlimited", msgspec.UNSET)
    assert set(mine.scopes) >= {"operator", "forms.submit"}
    test = client.create_key("t", ["runs.view"], mode="test", user_id="ann", role_ids=["finance"])
    assert (test.key[:8], test.mode, test.user_id, test.role_ids) == ("sk_test_", "test", "ann", ["finance"])


def call_second_chances(client: Any) -> None:
    """Redrive the run that was terminated, and make others from it."""
    assert client.redrive("R3", reason="once, after all").message == "redriven"
    rerun = client.rerun("R3", run_input={"amount": 1}, version="latest", new_process_id="R4", reason="again")
    assert (rerun.process_id, client.rerun("R3", version=1).process_id[:4]) == ("R4", rerun.execution_id[:4])
    fork = client.fork("R3", 1, state_input={"amount": 2}, reason="what if")
    lineage = client.lineage("R3")
    assert (lineage.redrives, lineage.origin, len(lineage.reruns)) == (1, None, 2)
    assert [made.execution_id for made in lineage.forks] == [fork.execution_id]
    assert client.lineage("R4").origin.kind == "rerun"
    client.terminate("R3")


def call_documents(client: Any) -> None:
    """A workflow is written as a graph and as steps, checked, converted, changed and restored."""
    nodes = [{"id": "note", "type": "log", "config": {"message": "{{ variables.who }}"}}]
    blank = client.write_workflow("graph", {"nodes": [], "edges": []})
    assert (blank.status, blank.nodes, blank.format, blank.definition) == ("draft", [], "graph", msgspec.UNSET)
    members = {"nodes": nodes, "variables": {"who": "x"}, "status": "published", "change_summary": "a node"}
    changed = client.rewrite_workflow(blank.id, members)
    assert (changed.nodes, changed.variables, changed.change_summary) == (nodes, {"who": "x"}, "a node")
    assert client.workflow(blank.id, expand="document").document["nodes"] == nodes
    assert [each.version for each in client.iter_versions_of(blank.id)] == [2, 1]
    assert client.versions_of(blank.id, limit=1).meta.next_cursor == "2"
    with pytest.raises(Conflict, match="latest one already"):
        client.restore_version(blank.id, 2)
    applied = client.apply_document("steps", {"steps": [{**nodes[0], "config": {"message": "m"}}]})
    assert (applied.outcome, applied.format, applied.nodes[0]["type"]) == ("created", "steps", "trigger")
    checked = client.validate_workflow(
        {"nodes": nodes, "edges": [{"source": "note", "target": "x"}]}, written_as="graph"
    )
    assert (checked.valid, [each.path for each in checked.problems]) == (False, ["/edges/0/target"])
    assert client.convert_workflow(APPROVAL, written_as="asl", to="graph").document["nodes"]


def call_executions(client: Any) -> None:
    """A run is started by its workflow, approved, looked at and retried."""
    steps = [{"id": "ask", "type": "approval", "config": {"title": "Pay {{ input.amount }}?"}}]
    workflow_id = client.write_workflow("to approve", {"steps": steps, "status": "published"}).id
    run = client.execute(workflow_id, {"amount": 7}, process_id="E-1", version=1)
    assert (run.process_id, run.status) == ("E-1", "running")
    (asked,) = eventually(lambda: client.run("E-1").approvals)
    assert (asked.title, asked.status) == ("Pay 7?", "pending")
    answered = client.decide_approval("E-1", asked.id, "approve", comment="fine")
    assert (answered.status, answered.answers[0].comment) == ("approved", "fine")
    eventually(lambda: client.run("E-1").completed_at)
    shown = client.run("E-1")
    assert (shown.status, shown.status_detail, shown.failure) == ("completed", "completed", None)
    assert "Run completed" in [line.message for line in shown.logs]
    again = client.retry("E-1", run_input={"amount": 8}, reason="once more")
    assert again.kind == "rerun"
    assert [each.id for each in client.iter_runs_of(workflow_id)] == [again.execution_id, run.execution_id]
    assert client.runs_of(workflow_id, {"status": "completed"}, limit=1).data[0].process_id == "E-1"


def eventually(look: Any) -> Any:
    """What a look gives, as soon as it is anything."""
    deadline = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def call_about_many(client: Any, workflow_id: str) -> None:
    """Runs are found by filter, counted, and changed in bulk."""
    call_bulk(client, workflow_id)
    assert client.find_executions({"status": "terminated"}, sort="oldest", limit=1).data[0].process_id == "R3"
    assert [each.process_id for each in client.iter_found_executions({"workflow_id": workflow_id})] == [
        "R3",
        "R.2",
        "R/1",
    ]
    assert client.execution_counts(workflow_id=workflow_id).by_status == {"completed": 2, "terminated": 1}
    call_second_chances(client)


def call_bulk(client: Any, workflow_id: str) -> None:
    """A bulk job is tried, started, listed, shown and stopped."""
    about = {"workflow_id": workflow_id, "status": "terminated"}
    assert client.start_bulk("terminate", about, is_dry_run=True).matching == 1
    job = client.start_bulk("terminate", about, reason="again").id
    assert client.bulk_jobs(limit=1).data[0].id == job
    assert client.bulk_job(job).filter == about
    assert client.stop_bulk(job, reason="enough").id == job
    assert client.start_bulk("resume", about, payload=1, is_dry_run=True).id is msgspec.UNSET


def compare(ours: Any, theirs: Any, place: str) -> None:
    """A result has all the members that the answer has, needed or not as there, down to the last."""
    if isinstance(theirs, types.StructType):
        if isinstance(ours, types.DictType):  # of which the server's own members vary
            assert present(theirs.cls.__base__).__name__ == "OpenShape", place
            return
        assert isinstance(ours, types.StructType), place
        there = {field.encode_name: field for field in theirs.fields if field.encode_name != "success"}
        here = {field.encode_name: field for field in ours.fields}
        assert set(here) == set(there), place
        for name, field in here.items():
            assert field.required == there[name].required, f"{place}.{name}"
            compare(field.type, there[name].type, f"{place}.{name}")
    elif isinstance(theirs, types.ListType):
        compare(ours.item_type, theirs.item_type, f"{place}[]")
    elif isinstance(theirs, types.Metadata):
        compare(ours, theirs.type, place)
    elif isinstance(theirs, types.UnionType):
        assert len(ours.types) == len(theirs.types), place
        compare(ours.types[0], theirs.types[0], place)
    elif isinstance(theirs, types.LiteralType):
        assert isinstance(ours, types.StrType), place
    else:
        assert type(ours) is type(theirs), place


def test_what_a_newer_server_adds_is_ignored() -> None:
    """Unknown members at any depth, and words that nobody knows yet."""
    page = b'{"data":[{"id":"i","name":"n","description":null,"status":"sleeping","version":1,"trigger_type":"moon",'
    page += b'"cron_expression":null,"timezone":null,'
    page += b'"created_at":"","created_by":"","updated_at":"","updated_by":null,"mood":{"x":1},'
    page += b'"visibility":"moon","shared_user_ids":[],"shared_role_ids":[],"owner_user_id":null}],"extra":[],'
    page += b'"meta":{"limit":1,"has_more":false,"next_cursor":null,"more":true},"success":true}'
    reply = Client.workflows(None).reply
    assert decoder(reply, None).decode(page).data[0].status == "sleeping"


# --- pages -------------------------------------------------------------------------------------------------------


def test_a_walk_holds_while_the_history_changes(client: Any) -> None:
    """Every run that was there at the start is seen once, newest first, though runs start and end meanwhile."""
    workflow = client.apply_workflow("many", APPROVAL).id
    there = [client.trigger(workflow, {"amount": 500}, process_id=f"M-{n}").execution_id for n in range(35)]
    seen = []
    for number, run in enumerate(client.iter_history(workflow)):
        seen.append(run.workflow_execution_id)
        if number % 7 == 0:
            client.trigger(workflow, {"amount": 500}, process_id=f"LATER-{number}")
            client.terminate(f"M-{number // 7}")
    assert seen == there[::-1]
    assert {run.workflow_execution_id for run in client.iter_executions()} > set(there)
    assert [run.process_id for run in client.iter_history(workflow, after=there[2])] == ["M-1", "M-0"]


def test_all_other_iterators_walk_over_pages(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits, keys, workflows and versions: the next page is asked for until there is none."""
    for module, name in (
        ("workflows", "_workflows"),
        ("workflows", "_versions"),
        ("servers", "_keys"),
        ("runs", "_waits"),
    ):
        monkeypatch.setattr(f"perdure.api.client.{module}.{name}", small(module, name))
    client.apply_workflow("second", APPROVAL)
    client.trigger(client.apply_workflow("third", APPROVAL).id, {"amount": 500}, process_id="THIRD")
    assert [each.name for each in client.iter_workflows()] == ["third", "second", NAME]
    assert [each.workflow_name for each in client.iter_workflow_versions()] == ["third", "second", NAME]
    assert [each.name for each in client.iter_keys()] == ["operator", "ci"]
    assert [each.process_id for each in client.iter_waits()] == ["INV-7", "THIRD"]
    assert [each.process_id for each in client.iter_waits(process_id="INV-7")] == ["INV-7"]


def small(module: str, name: str) -> Any:
    """A builder of pages that asks for one item each."""
    build = getattr(importlib.import_module(f"perdure.api.client.{module}"), name)

    def built(*args: Any) -> Any:
        call = build(*args)
        return msgspec.structs.replace(call, query={**call.query, "limit": 1})

    return built


def test_events_are_followed_until_the_run_has_ended(client: Any, served: str) -> None:
    """Without a gap, and only as long as there can be more."""

    def resume() -> None:
        with Client(served, KEY) as other:
            other.resume("INV-7", {"ok": True}, state="Ask")

    later = threading.Timer(0.1, resume)
    later.start()
    told = list(client.iter_execution_events("INV-7", follow=True))
    later.join()
    assert [each.seq for each in told] == list(range(1, len(told) + 1))
    assert told[-1].type == "ExecutionSucceeded"
    assert list(client.iter_execution_events("INV-7", after=len(told) - 1)) == told[-1:]
    (ended,) = client.iter_execution_events("INV-7", types=["ExecutionSucceeded"])
    assert ended == told[-1]


def test_the_log_is_followed_on_and_on(client: Any) -> None:
    """What is there, and then what comes; it can be gone on with after the last position seen."""
    all_of_it = list(client.iter_events())
    assert [each.position for each in all_of_it] == sorted({each.position for each in all_of_it})
    following = client.iter_events(after=all_of_it[-3].position, follow=True)
    assert [next(following), next(following)] == all_of_it[-2:]
    client.terminate("INV-7")
    assert next(following).type == "ExecutionTerminated"


# --- errors ------------------------------------------------------------------------------------------------------


def test_each_refusal_is_an_exception_of_its_kind(client: Any, connect: Connect, served: str) -> None:
    """With code, message, details, the id of the request, and whether to try again."""
    with pytest.raises(NotFound, match="there is no process") as missing:
        client.terminate("nobody")
    assert (missing.value.code, missing.value.status, missing.value.retryable) == ("NOT_FOUND", 404, False)
    assert missing.value.request_id is not None
    with pytest.raises(Invalid) as invalid:
        client.create_workflow("bad", {"StartAt": "A", "States": {}})
    assert invalid.value.details["errors"][0]["path"]
    with pytest.raises(Unauthorized):
        connect(served, "pk_wrong").waits()
    viewer = connect(served, client.create_key("v", ["runs.view"]).key)
    with pytest.raises(Forbidden, match=r"runs\.terminate"):
        viewer.terminate("INV-7")

    both = client.apply_workflow("both", TWO_AT_ONCE).id
    client.trigger(both, process_id="BOTH")
    with pytest.raises(AmbiguousWait) as several:
        client.resume("BOTH", 1)
    assert {each["state"] for each in several.value.details["waits"]} == {"Left", "Right"}
    with pytest.raises(NotWaiting) as early:
        client.resume("BOTH", 1, state="Nowhere", hold_s=0)
    assert (early.value.retry_after_s, early.value.retryable) == (2.0, True)
    named = client.apply_workflow("named", APPROVAL, resume="named").id
    client.trigger(named, {"amount": 500}, process_id="NAMED")
    with pytest.raises(UnnamedWait):
        client.resume("NAMED", 1)
    assert client.resume("NAMED", 1, idempotency_key="mine").message == "restarted"
    assert client.resume("NAMED", 2, idempotency_key="other").message == "already restarted"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda client: client.terminate(".."), "process_id: '..' is not accepted"),
        (lambda client: client.trigger("w", {"x": float("nan")}), "no JSON"),
        (lambda client: client.trigger("w", {"x": object()}), "no JSON"),
        (lambda client: client.terminate("x", idempotency_key="a\r\nb: c"), "idempotency_key"),
    ],
)
def test_what_cannot_be_sent_is_a_value_error(connect: Connect, call: Any, says: str) -> None:
    """Before anything is sent: nobody needs to be there."""
    with pytest.raises(ValueError, match=says):
        call(connect("http://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("url", "key", "says"),
    [
        ("file:///etc/passwd", "k", "no address"),
        ("http://user:pw@host", "k", "no address"),
        ("http://host:99999", "k", "no address"),
        ("http://host?x=1", "k", "query"),
        ("http://host", "", "api_key"),
        ("http://host", "a\nb", "api_key"),
    ],
)
def test_wrong_arguments_of_a_client(connect: Connect, url: str, key: str, says: str) -> None:
    """An address that is none, or a key that none can be; the key is not in the message."""
    with pytest.raises(ValueError, match=says):
        connect(url, key)


def test_no_secret_is_shown(client: Any) -> None:
    """The key stands in no repr."""
    client.live()
    assert KEY not in repr(client)
    assert KEY not in repr(vars(client))
    assert repr(client).startswith(("Recording('http://127.0.0.1:", "RecordingAsync('http://127.0.0.1:"))


def test_threads_may_share_a_client(served: str) -> None:
    """Each call has a connection for itself; what is left over is used again, and closed at the end."""
    with Client(served, KEY) as shared:
        threads = [threading.Thread(target=lambda: [shared.waits() for _ in range(10)]) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(30)
        assert 1 <= len(shared._connections._idle) <= 4
    assert not shared._connections._idle
