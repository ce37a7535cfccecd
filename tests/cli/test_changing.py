"""Changing commands, in both modes: straight to a database, and through a server on it."""

from __future__ import annotations

import asyncio
import getpass
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core.commands import Quarantine
from perdure.engine.services.access import SCOPES
from tests.cli.conftest import APPROVAL, CHARGE, KEY, NAME, Mode, Perdure, Served


def actor(mode: Mode, perdure: Perdure) -> str:
    """Who the log says it was."""
    operator = next(key for key in perdure.json("keys", "list")["items"] if key["name"] == "operator")
    return f"cli:{getpass.getuser()}" if mode == "direct" else f"key:{operator['id']}"


def event(perdure: Perdure, process_id: str, kind: str) -> dict[str, Any]:
    """The last event of a kind of a run."""
    lines = [json.loads(line) for line in perdure("events", process_id, "--json").stdout.splitlines()]
    return [line for line in lines if line["type"] == kind][-1]


def test_a_run_from_start_to_end(mode: Mode, perdure: Perdure) -> None:
    """A run is triggered by its workflow's name, waits, and is resumed once; the log says who did it."""
    started = perdure("trigger", NAME, "--input", '{"amount": 500}', "--process-id", "INV-9").stdout.strip()
    assert perdure.json("show", "INV-9")["execution_id"] == started
    assert perdure.status("INV-9") == "waiting"
    again = perdure.json("trigger", NAME, "--input", '{"amount": 500}', "--process-id", "INV-9")
    assert (again["execution_id"], again["process_id"]) == (started, "INV-9")

    answer = '{"approved": true}'
    assert perdure("resume", "INV-9", "--source", "SAP", "--payload", answer).stdout == "restarted\n"
    assert perdure.json("resume", "INV-9", "--source", "SAP") == {"message": "already restarted"}
    shown = perdure.json("show", "INV-9")
    assert (shown["status"], shown["output"]["approval"]) == ("completed", {"approved": True, "source": "SAP"})
    for kind in ("ExecutionStarted", "WaitResumed"):
        assert event(perdure, "INV-9", kind)["actor"] == actor(mode, perdure)


def test_a_workflow_is_deployed_again_and_again(mode: Mode, perdure: Perdure, folder: Path) -> None:
    """From JSON or YAML: what differs is shown, applied as the next version, published and archived by name."""
    assert perdure("workflows", "diff", "invoice.asl.yaml", "--name", NAME).stdout == ""
    same = perdure("workflows", "apply", "invoice.asl.yaml", "--name", NAME)
    assert "unchanged: invoice approval, version 1, published" in same.stderr
    changed = (folder / "invoice.asl.yaml").read_text().replace("NumericGreaterThan: 100", "NumericGreaterThan: 250")
    (folder / "invoice.asl.yaml").write_text(changed)
    difference = perdure("workflows", "diff", "invoice.asl.yaml", "--name", NAME, exits=1).stdout
    assert '-          "NumericGreaterThan": 100,' in difference
    assert '+          "NumericGreaterThan": 250,' in difference
    draft = perdure.json("workflows", "apply", "invoice.asl.yaml", "--name", NAME, "--draft")
    assert (draft["id"], draft["version"], draft["outcome"]) == (same.stdout.strip(), 2, "changed")
    assert perdure.json("trigger", NAME, "--input", '{"amount": 120}', "--process-id", "D")["process_id"] == "D"
    assert perdure.status("D") == "waiting"
    assert perdure("workflows", "publish", NAME).stdout == same.stdout
    perdure("trigger", NAME, "--input", '{"amount": 120}', "--process-id", "P")
    assert perdure.status("P") == "completed"
    new = perdure.json("workflows", "apply", "charge.asl.json", "--resume", "named")
    assert (new["name"], new["outcome"]) == ("charge", "created")
    assert perdure.json("workflows", "archive", NAME)["status"] == "archived"
    assert "is archived" in perdure("trigger", NAME, "--input", '{"amount": 1}', exits=1).stderr


def test_a_wait_is_ended_with_any_value_and_no_source(mode: Mode, perdure: Perdure) -> None:
    """The command line asks for no `source`, and for no object; what a termination says more than why is kept."""
    assert perdure("resume", "INV-7", "--state", "Ask", "--payload", "[1, null]").stdout == "restarted\n"
    assert perdure.json("show", "INV-7")["output"]["approval"] == [1, None]
    perdure("trigger", NAME, "--input", '{"amount": 300}', "--process-id", "T")
    perdure("terminate", "T", "--reason", "entered twice", "--payload", '{"ticket": 4711}')
    ended = event(perdure, "T", "ExecutionTerminated")
    assert ended["payload"] == {"reason": "entered twice", "data": {"ticket": 4711}}


def test_a_workflow_whose_waits_must_be_named(mode: Mode, perdure: Perdure) -> None:
    """It is created so; a resume that names no wait says what is open."""
    perdure("workflows", "create", "invoice.asl.json", "--name", "named", "--resume", "named")
    perdure("trigger", "named", "--input", '{"amount": 300}', "--process-id", "N")
    refused = perdure("resume", "N", "--source", "SAP", "--hold", "0", exits=1)
    assert "open: 'Ask'" in refused.stderr
    assert perdure("resume", "N", "--source", "SAP", "--state", "Ask").stdout == "restarted\n"


def test_inputs_from_files_and_stdin(mode: Mode, perdure: Perdure) -> None:
    """Input and payload come from an argument, a file, or stdin; a process id may stand in the input."""
    perdure("trigger", NAME, "--input", "@-", stdin='{"amount": 300, "process_id": "INV-10"}')
    perdure("resume", "INV-10", "--payload", "@approval.json", "--state", "Ask")
    assert perdure.json("show", "INV-10")["output"]["approval"] == {"source": "TEAMS", "approved": True}


def test_exactly_the_wait_that_is_meant(mode: Mode, perdure: Perdure) -> None:
    """A wait is named by its id, in either case of letters; a wait of another run is not this one's."""
    wait = perdure.json("waits")["items"][0]["wait_id"]
    perdure("trigger", NAME, "--input", '{"amount": 300}', "--process-id", "OTHER")
    refused = perdure("resume", "OTHER", "--source", "SAP", "--wait-id", wait, "--hold", "0", exits=1)
    assert refused.stdout == ""
    assert perdure("resume", "INV-7", "--source", "SAP", "--wait-id", wait.upper()).stdout == "restarted\n"


def test_a_run_is_terminated_with_a_reason(mode: Mode, perdure: Perdure) -> None:
    """A run is ended from outside, once; the reason stands in the log."""
    assert perdure("terminate", "INV-7", "--reason", "entered twice").stdout == "terminated\n"
    assert perdure.json("terminate", "INV-7") == {"message": "already terminated"}
    assert event(perdure, "INV-7", "ExecutionTerminated")["payload"] == {"reason": "entered twice"}
    assert "Conflict" not in perdure("terminate", "INV-6", exits=1).stderr


def test_many_runs_are_terminated_at_once(mode: Mode, perdure: Perdure) -> None:
    """Tried first, then done: by a server, or recorded for the next one, which does it."""
    for number in range(3):
        perdure("trigger", NAME, "--input", '{"amount": 500}', "--process-id", f"OLD-{number}")
        assert perdure.status(f"OLD-{number}") == "waiting"
    what = ("bulk", "start", "terminate", NAME, "--process-id-prefix", "OLD-", "--reason", "entered twice")

    assert perdure(*what, "--dry-run").stdout == "3 runs match\n"
    job = perdure(*what).stdout.strip()

    if mode == "direct":
        assert perdure.json("bulk", "show", job)["status"] == "running"
        with Served("sqlite:///runs.db"):
            ended(perdure, job)
    shown = ended(perdure, job)
    assert (shown["done"], shown["expected"], shown["filter"]["process_id_prefix"]) == (3, 3, "OLD-")
    terminated = event(perdure, "OLD-1", "ExecutionTerminated")
    assert (terminated["actor"], terminated["payload"]["reason"]) == (actor(mode, perdure), "entered twice")
    assert perdure.status("INV-7") == "waiting"
    assert perdure("bulk", "stop", job).stdout == "completed\n"
    assert (
        "must be 'terminate' or 'resume' or 'pause' or 'unpause'"
        in perdure("bulk", "start", "delete", "--status", "waiting", exits=1).stderr
    )
    assert "name at least one" in perdure("bulk", "start", "terminate", exits=1).stderr


def ended(perdure: Perdure, job: str) -> dict[str, Any]:
    """A bulk job once it has ended."""
    deadline = time.monotonic() + 20
    while (shown := perdure.json("bulk", "show", job))["status"] not in {"completed", "stopped"}:
        assert time.monotonic() < deadline, shown
    found: dict[str, Any] = shown
    return found


def test_terminating_a_run_ends_its_child(mode: Mode, perdure: Perdure, folder: Path) -> None:
    """In both modes: a run that awaits another takes it along, and the child shows whose it is."""
    call = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync",
        "Parameters": {"StateMachineArn": NAME, "Name": "CHILD", "Input": {"amount": 500}},
        "End": True,
    }
    (folder / "parent.json").write_text(json.dumps({"StartAt": "Call", "States": {"Call": call}}))
    perdure("workflows", "create", "parent.json")
    parent = perdure("trigger", "parent", "--process-id", "PARENT").stdout.strip()
    assert perdure.until("CHILD", "waiting")["parent_execution_id"] == parent
    assert perdure.json("show", "PARENT")["parent_execution_id"] is None
    perdure("terminate", "PARENT")
    perdure.until("CHILD", "terminated")
    assert event(perdure, "CHILD", "ExecutionTerminated")["actor"] == f"execution:{parent}"


def test_a_task_is_answered_for_by_its_token(mode: Mode, perdure: Perdure, token: str) -> None:
    """Alive, then done; a second answer is refused, and the log names the token's wait as who gave the first."""
    assert perdure("task", "heartbeat", token).stdout == "alive\n"
    assert perdure.json("task", "success", token, "--output", '["a", null]') == {"message": "completed"}
    assert "completed" in perdure("task", "failure", token, "--error", "No", exits=1).stderr
    run = perdure.json("history", "external")["items"][0]["execution_id"]
    assert perdure.json("show", run)["output"] == ["a", None]
    assert event(perdure, run, "WaitResumed")["actor"] == f"token:{token.partition('.')[0]}"


def test_a_task_fails_by_its_token(mode: Mode, perdure: Perdure, token: str) -> None:
    """With an error and a cause, no longer than they may be."""
    assert "cause" in perdure("task", "failure", token, "--cause", "x" * 32_769, exits=1).stderr
    told = perdure("task", "failure", token, "--error", "Approval.Refused", "--cause", "no contract")
    assert (told.stdout, told.stderr) == ("completed\n", "nothing catches that: its state has failed\n")
    shown = perdure.json("show", perdure.json("history", "external")["items"][0]["execution_id"])
    assert (shown["status"], shown["error"], shown["cause"]) == ("failed", "Approval.Refused", "no contract")


def test_a_workflow_is_created(mode: Mode, perdure: Perdure) -> None:
    """A definition becomes a workflow of the file's name; a draft is no version to run."""
    made = perdure("workflows", "create", "invoice.asl.json").stdout.strip()
    shown = perdure.json("workflows", "show", "invoice")
    assert (shown["id"], shown["definition"], shown["status"]) == (made, APPROVAL, "published")
    result = perdure("workflows", "create", "-", "--name", "later", "--draft", "--json", stdin=json.dumps(CHARGE))
    assert json.loads(result.stdout)["status"] == "draft"
    assert "draft" in perdure("trigger", "later", exits=1).stderr


def test_a_definition_that_is_not_valid(mode: Mode, perdure: Perdure, folder: Path) -> None:
    """Every problem is told at once, each with where it is; nothing is made."""
    bad = {"StartAt": "A", "States": {"B": {"Type": "Pass", "Next": "C"}, "D": {"Type": "Nope"}}}
    (folder / "bad.json").write_text(json.dumps(bad))
    said = perdure("workflows", "create", "bad.json", exits=1).stderr
    assert all(said.count(place) == 1 for place in ("/StartAt", "/States/B/Next", "/States/D/Type"))
    assert perdure.json("workflows", "list")["total"] == 1


def test_a_key_is_made_used_and_revoked(mode: Mode, perdure: Perdure, folder: Path) -> None:
    """A key is shown once; it is revoked by its name."""
    made = perdure.json("keys", "create", "worker", "--scope", "runs.view,workflows.view", "--scope", "runs.resume")
    assert made["scopes"] == ["runs.view", "workflows.view", "runs.resume"]
    assert made["key"].startswith("wfk_")
    assert perdure("keys", "create", "other", "--scope", "runs.view").stdout.startswith("wfk_")
    perdure("keys", "revoke", "worker")
    revoked = {key["name"] for key in perdure.json("keys", "list")["items"] if key["revoked_at"]}
    assert revoked == {"worker"}
    assert "Did you mean 'other'?" in perdure("keys", "revoke", "othr", exits=1).stderr


def test_a_key_of_many_is_found_by_its_name(mode: Mode, perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a later page of a server's."""
    monkeypatch.setattr("perdure.api.client.servers.PAGE", 1)
    perdure("keys", "create", "last", "--scope", "runs.view")
    assert perdure.json("keys", "revoke", "last")["name"] == "last"


def test_an_operator_who_lost_the_key_makes_another(perdure: Perdure) -> None:
    """On the database itself; the last operator's key stays until there is another one."""
    assert "make another" in perdure("keys", "revoke", "operator", exits=1).stderr
    recovered = perdure.json("keys", "recover")
    assert (recovered["name"], recovered["scopes"]) == ("recovered", list(SCOPES))
    assert recovered["key"].startswith("wfk_")
    perdure("keys", "revoke", "operator")
    assert {key["last_used_at"] for key in perdure.json("keys", "list")["items"]} == {None}
    assert "does not exist" in perdure("keys", "recover", "--database", "sqlite:///none.db", exits=2).stderr


def test_a_key_elsewhere(mode: Mode, perdure: Perdure) -> None:
    """An operator, or who can write the file, makes keys of another organization, which is made with them."""
    elsewhere = ("--organization", "acme", "--workspace", "billing")
    perdure("keys", "create", "clerk", "--scope", "runs.view", *elsewhere)
    assert [
        key["name"] for key in perdure.json("keys", "list", *elsewhere, "--database", "sqlite:///runs.db")["items"]
    ] == ["clerk"]
    assert "clerk" not in perdure("keys", "list").stdout


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["trigger", "invoice aproval"], f"Did you mean '{NAME}'?"),
        (["trigger", NAME, "--version", "7"], "no version 7"),
        (["trigger", NAME, "--process-id", "INV-7"], "belongs to execution"),
        (["trigger", "01900000-0000-7000-8000-000000000000"], "there is no workflow"),
        (["resume", "INV-8", "--source", "SAP"], "there is no process"),
        (["resume", "INV-8", "--source", "SAP"], "Did you mean 'INV-7' or 'INV-6'?"),
        (["terminate", "inv-7"], "Did you mean 'INV-7'"),
        (["resume", "INV-6", "--source", "SAP", "--hold", "0"], "wait"),
        (["terminate", "INV-8"], "there is no process"),
        (["task", "success", "nonsense", "--output", "1"], "there is no such task"),
        (["terminate", "INV-7", "--reason", "x" * 1025], "termination_reason"),
        (["workflows", "create", "invoice.asl.json", "--name", "x" * 121], "name"),
        (["keys", "create", "k", "--scope", "runs.veiw"], "runs.veiw"),
        (["keys", "create", "k", "--scope", "runs.view", "--expires-at", "2001-01-01T00:00:00Z"], "past"),
        (["keys", "create", "k", "--scope", "runs.view", "--expires-at", "soon"], "expires_at"),
        (["keys", "revoke", "nobody"], "there is no key"),
    ],
)
def test_what_cannot_be_done(mode: Mode, perdure: Perdure, command: list[str], says: str) -> None:
    """What is bad, not there or not possible ends with 1, says why, and prints no data."""
    result = perdure(*command, exits=1)
    assert says in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["trigger", NAME, "--input", "[1]"], "must be a JSON object"),
        (["trigger", NAME, "--input", '{"a": 1, "a": 2}'], "stands twice"),
        (["trigger", NAME, "--input", '{"a": NaN}'], "NaN"),
        (["trigger", NAME, "--input", "@nowhere.json"], "cannot be read"),
        (["trigger", NAME, "--input", '{"process_id": null}'], "its process_id must be a text"),
        (["trigger", NAME, "--input", '{"process_id": "A"}', "--process-id", "B"], "another one"),
        (["resume", "INV-7", "--source", "SAP", "--payload", "[1]"], "no JSON object"),
        (["terminate", "INV-7", "--payload", "[1]"], "must be a JSON object"),
        (["terminate", "INV-7", "--reason", "a", "--payload", '{"termination_reason": "b"}'], "another one"),
        (["resume", "INV-7", "--source", "SAP", "--payload", "@approval.json"], "another one"),
        (["resume", "INV-7", "--source", "SAP", "--wait-id", "x"], "not a UUID"),
        (["workflows", "create", "-"], "has no name"),
        (["workflows", "create", "nowhere.json"], "cannot be read"),
        (["keys", "create", "k"], "--scope"),
    ],
)
def test_what_is_not_tried(perdure: Perdure, command: list[str], says: str) -> None:
    """Wrong usage ends with 2, before anything is opened or sent."""
    assert says in perdure(*command, exits=2).stderr


# --- one mode alone ----------------------------------------------------------------------------------------------


def test_a_database_that_a_server_holds_is_refused(perdure: Perdure, served: str) -> None:
    """Straight to a held database: 2, naming the holder and the option to use; reading goes on beside it."""
    for command in (["trigger", NAME], ["terminate", "INV-7"], ["rebuild"], ["keys", "create", "k", "--scope", "x"]):
        said = perdure(*command, exits=2).stderr
        assert "in use by process" in said
        assert "--server URL" in said
    assert perdure.status("INV-7") == "waiting"


def test_only_what_creates_makes_a_database(perdure: Perdure, folder: Path) -> None:
    """A mistyped database is not made in passing; a first workflow or key makes one."""
    new = ("--database", "sqlite:///new.db")
    for command in (["trigger", NAME], ["resume", "X", "--source", "SAP"], ["terminate", "X"], ["rebuild"]):
        assert "does not exist" in perdure(*command, *new, exits=2).stderr
    assert not (folder / "new.db").exists()
    perdure("workflows", "create", "invoice.asl.json", *new)
    assert perdure.json("workflows", "list", *new)["total"] == 1


def test_what_is_written_directly_is_taken_on_by_a_server(perdure: Perdure, folder: Path) -> None:
    """No step is called by a command; the next server on the database calls it."""
    quick = {"StartAt": "Log", "States": {"Log": {"Type": "Task", "Resource": "transform", "End": True}}}
    quick["States"]["Log"]["Parameters"] = {"value": {"a": 1}}  # type: ignore[index]
    (folder / "quick.json").write_text(json.dumps(quick))
    perdure("workflows", "create", "quick.json")
    perdure("trigger", "quick", "--process-id", "Q")
    perdure("terminate", "INV-7")  # takes nothing up in passing
    assert perdure.status("Q") == "running"
    with Served("sqlite:///runs.db"):
        perdure("events", "Q", "--follow")
    assert perdure.json("show", "Q")["output"] == {"a": 1}
    assert perdure.json("doctor", "--streams", "5")["status"] != "fail"


def test_steps_of_ones_own_are_named(perdure: Perdure, folder: Path) -> None:
    """Straight to a database, a step that a definition calls must be in the registry of --steps."""
    own = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "billing.charge", "End": True}}}
    (folder / "own.json").write_text(json.dumps(own))
    (folder / "billing_steps_of_cli.py").write_text(
        "from perdure.engine.steps import Registry\nregistry = Registry()\n"
        "@registry.step('billing.charge')\nasync def charge(value): return value\n"
    )
    assert "no step 'billing.charge'" in perdure("workflows", "create", "own.json", exits=1).stderr
    assert "steps:" in perdure("workflows", "create", "own.json", "--steps", "nowhere:x", exits=2).stderr
    perdure("workflows", "create", "own.json", "--steps", "billing_steps_of_cli:registry")


def test_which_of_server_and_database_is_meant(perdure: Perdure, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands on the command line goes before a variable; both there, or a server without a key, are refused."""
    assert (
        "give one of them"
        in perdure("terminate", "INV-7", "--server", served, "--database", "sqlite:///runs.db", exits=2).stderr
    )
    assert "PERDURE_KEY" in perdure("terminate", "INV-7", "--server", served, exits=2).stderr
    monkeypatch.setenv("PERDURE_SERVER", served)
    monkeypatch.setenv("PERDURE_KEY", KEY)
    assert "in use" in perdure("terminate", "INV-7", "--database", "sqlite:///runs.db", exits=2).stderr
    assert "go with --database" in perdure("terminate", "INV-7", "--workspace", "x", exits=2).stderr
    assert perdure("terminate", "INV-7").stdout == "terminated\n"


def test_a_server_that_cannot_be_asked(perdure: Perdure, served: str) -> None:
    """A server that is not there, an address that is none, or a key that it refuses: 2, and nothing happened."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for server, key, says in (
        (f"http://127.0.0.1:{port}", KEY, "cannot be reached"),
        ("file:///etc/passwd", KEY, "no address of a server"),
        (served, "pk_wrong", "unknown, revoked or expired"),
        (served, "pk\nx", "characters"),
    ):
        assert says in perdure("terminate", "INV-7", "--server", server, "--key", key, exits=2).stderr
    limited = perdure.json("keys", "create", "l", "--scope", "runs.view", "--server", served, "--key", KEY)["key"]
    assert "lacks the scope" in perdure("terminate", "INV-7", "--server", served, "--key", limited, exits=2).stderr
    assert perdure.status("INV-7") == "waiting"


def test_a_run_that_was_set_aside_is_released(perdure: Perdure, folder: Path) -> None:
    """`doctor` lists it and says how; afterwards it is listed no more, and can be resumed."""
    asyncio.run(set_aside(f"sqlite:///{folder / 'runs.db'}", "INV-7"))
    found = perdure("doctor", exits=1)
    assert "perdure release" in found.stderr
    assert perdure("release", "INV-7").stdout == "released\n"
    assert event(perdure, "INV-7", "ExecutionReleased")["actor"] == f"cli:{getpass.getuser()}"
    checks = {check["check"]: check["status"] for check in perdure.json("doctor")["checks"]}
    assert checks["quarantine"] == "ok"
    assert perdure("resume", "INV-7", "--source", "SAP").stdout == "restarted\n"


async def set_aside(database: str, process_id: str) -> None:
    """Quarantine a run, as a decision about it would that raises."""
    async with Engine.open(database) as engine:
        execution_id = await engine.services.runs.find(await engine._caller(), process_id)
        await engine.node.send(execution_id, Quarantine("Resume", "KeyError"))


def test_a_run_that_was_not_set_aside_is_not_released(mode: Mode, perdure: Perdure) -> None:
    """It is said so, and one that is not there is not found."""
    assert "not quarantined" in perdure("release", "INV-7", exits=1).stderr
    assert "there is no process" in perdure("release", "INV-8", exits=1).stderr
