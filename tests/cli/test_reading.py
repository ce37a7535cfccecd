"""Reading commands: what they print for people and for programs, and what they refuse."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from perdure.api.client import Client
from perdure.cli.targets import served_runs
from perdure.engine import Engine
from perdure.engine.core import ids
from tests.cli.conftest import APPROVAL, KEY, NAME, Perdure

READING = [
    ["history"],
    ["waits"],
    ["show", "INV-7"],
    ["show", "INV-7", "--diagram"],
    ["events", "INV-7"],
    ["workflows", "list"],
    ["workflows", "show", NAME],
    ["workflows", "show", NAME, "--diagram"],
    ["keys", "list"],
    ["bulk", "list"],
    ["bulk", "show"],
    ["verify"],
    ["doctor"],
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_json_parses_and_is_stable(perdure: Perdure, command: list[str]) -> None:
    """Twice the same question gives twice the same text, on stdout alone, and all of it is JSON."""
    first, second = (perdure(*command, "--json") for _ in range(2))
    assert first.stdout == second.stdout
    assert first.stderr == ""
    lines = first.stdout.splitlines() if command[0] == "events" else [first.stdout]
    assert all(isinstance(json.loads(line), dict) for line in lines)


SERVED = [
    ["history"],
    ["history", NAME, "--limit", "1"],
    ["history", "--status", "waiting,failed", "--status", "completed", "--sort", "oldest", "--limit", "1"],
    ["history", NAME, "--process-id-prefix", "INV-7", "--from", "2000-01-01"],
    ["history", "--counts"],
    ["history", NAME, "--counts"],
    ["show", "INV-7"],
    ["show", "INV-6"],
    ["show", "INV-7", "--diagram"],
    ["events", "INV-7"],
    ["events", "INV-6", "--follow"],
    ["waits"],
    ["waits", "--workflow", NAME, "--limit", "1"],
    ["waits", "--process-id", "INV-6"],
    ["bulk", "list"],
    ["bulk", "show"],
    ["workflows", "list"],
    ["workflows", "list", "--search", "nobody"],
    ["workflows", "list", "--limit", "1000", "--page", "2"],
    ["workflows", "show", NAME],
    ["workflows", "show", NAME, "--version", "1"],
    ["workflows", "show", NAME, "--diagram"],
]


def test_a_server_shows_what_its_database_has(perdure: Perdure, served: str) -> None:
    """With --server the same commands print the same: runs, with all that is said of them, and their events."""
    there = ("--server", served, "--key", KEY)
    for command in SERVED:
        for form in ([], ["--json"]):
            assert perdure(*command, *form, *there).stdout == perdure(*command, *form).stdout, command
    for _ in range(12):  # of which the last ten events of the run are
        perdure("resume", "INV-6", "--state", "Nowhere", "--hold", "0", *there, exits=1)
    assert perdure("history", "--json", *there).stdout == perdure("history", "--json").stdout
    first = perdure.json("history", "--limit", "1", *there)
    assert perdure.json("history", "--after", first["after"], *there)["items"][0]["process_id"] == "INV-6"
    for command in (
        *(["show", "INV-8"], ["events", "INV-8"], ["history", "invoice aproval"]),
        *(["waits", "--process-id", "INV-8"], ["waits", "--workflow", "invoice aproval"]),
        ["workflows", "show", "invoice aproval"],
    ):
        said = perdure(*command, *there, exits=1).stderr
        assert "there is no" in said
        assert "Did you mean '" in said
    assert "wants a key" in perdure("show", "INV-7", "--server", served, exits=2).stderr


def test_a_server_s_keys_and_waits_are_listed(perdure: Perdure, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PERDURE_SERVER is enough, without any database; by pages, and also with a key that sees no workflows."""
    monkeypatch.setattr(served_runs, "ITEMS_AT_ONCE", 1)
    keys = perdure.json("keys", "list")["items"]
    wanted = [perdure.json(*each) for each in (["waits"], ["workflows", "list"])]
    first = perdure.json("workflows", "list", "--limit", "1", "--page", "2")
    monkeypatch.setenv("PERDURE_SERVER", served)
    monkeypatch.setenv("PERDURE_DATABASE", "sqlite:///nowhere.db")
    monkeypatch.setenv("PERDURE_KEY", KEY)
    told = perdure.json("keys", "list")["items"]
    assert [{name: each[name] for name in row} for each, row in zip(keys, told, strict=True)] == [
        {**row, "last_used_at": each["last_used_at"]} for each, row in zip(keys, told, strict=True)
    ]
    assert [perdure.json(*each) for each in (["waits"], ["workflows", "list"])] == wanted
    assert perdure.json("workflows", "list", "--limit", "1", "--page", "2") == first
    assert "--database" in perdure("waits", "--workspace", "x", exits=2).stderr
    monkeypatch.setenv("PERDURE_KEY", perdure.json("keys", "create", "v", "--scope", "runs.view")["key"])
    (wait,) = perdure.json("waits")["items"]
    assert wait == {**wanted[0]["items"][0], "workflow_name": None}


def test_a_server_s_run_is_followed(perdure: Perdure, served: str) -> None:
    """What is added is told as it comes, until the run has ended."""
    there = ("--server", served, "--key", KEY)

    def resumed() -> None:
        with Client(served, KEY) as client:
            client.resume("INV-7", 1, state="Ask", hold_s=0)

    resume = threading.Timer(0.1, resumed)
    resume.start()
    lines = [json.loads(line) for line in perdure("events", "INV-7", "--follow", "--json", *there).stdout.splitlines()]
    resume.join()
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["type"] == "ExecutionSucceeded"


def test_history_walks_over_pages(perdure: Perdure) -> None:
    """A page says where the next begins; the walk gives every run once, newest first."""
    first = perdure.json("history", "--limit", "1")
    second = perdure.json("history", "--limit", "1", "--after", first["after"])
    assert [page["items"][0]["process_id"] for page in (first, second)] == ["INV-7", "INV-6"]
    assert second["after"] is None
    assert set(first["items"][0]) == {
        *("execution_id", "process_id", "workflow_id", "workflow_name", "workflow_version", "status", "state"),
        *("trigger", "created_at", "modified_at", "modified_by", "ended_at", "pause"),
    }


def test_history_of_a_workflow_by_name_and_id(perdure: Perdure) -> None:
    """A workflow is known by its name and by its id."""
    workflow = perdure.json("workflows", "list")["items"][0]
    for wanted in (NAME, workflow["id"]):
        assert [item["process_id"] for item in perdure.json("history", wanted)["items"]] == ["INV-7", "INV-6"]


def test_history_for_people(perdure: Perdure) -> None:
    """Ids are whole and times readable; that there is more is said on stderr."""
    result = perdure("history", "--limit", "1")
    run = perdure.json("show", "INV-7")
    assert run["execution_id"] in result.stdout
    assert run["created_at"].replace("T", " ").replace("Z", " UTC") in result.stdout
    assert f"--after {perdure.json('history', '--limit', '1')['after']}" in result.stderr


def test_history_by_filter(perdure: Perdure) -> None:
    """Runs that match all of it, either way round; a page goes on with the same filters, or beyond a run."""

    def names(*command: str) -> list[str]:
        return [item["process_id"] for item in perdure.json("history", *command)["items"]]

    assert names("--sort", "oldest") == ["INV-6", "INV-7"]
    assert names("--status", "waiting") == ["INV-7"]
    assert names("--status", "failed", "--status", "completed") == ["INV-6"]
    assert names("--process-id-prefix", "INV-6") == ["INV-6"]
    assert names("--to", "2000-01-01") == []
    run = perdure.json("show", "INV-7")["execution_id"]
    assert names("--after", run) == ["INV-6"]
    oldest = ("--sort", "oldest", "--process-id-prefix", "INV")
    first = perdure.json("history", *oldest, "--limit", "1")
    assert names(*oldest, "--after", first["after"]) == ["INV-7"]
    assert "other filters" in perdure("history", "--after", first["after"], exits=2).stderr


def test_history_counts(perdure: Perdure) -> None:
    """How many runs there are, by workflow and status; for people a table."""
    counted = perdure.json("history", "--counts")
    assert counted["by_status"] == {"waiting": 1, "completed": 1}
    assert perdure.json("history", NAME, "--counts")["by_workflow"] == counted["by_workflow"]
    lines = [line.split() for line in perdure("history", "--counts").stdout.splitlines()]
    assert lines[0] == ["workflow", "runs", "waiting", "completed"]
    assert lines[-1] == ["all", "2", "1", "1"]
    assert "--counts" in perdure("history", "--counts", "--status", "failed", exits=2).stderr


def test_show_by_process_id_and_by_execution(perdure: Perdure) -> None:
    """A run is known by its process id and by its id; values, steps and open waits are shown."""
    shown = perdure.json("show", "INV-7")
    assert shown == perdure.json("show", shown["execution_id"])
    assert (shown["status"], shown["state"], shown["input"]) == ("waiting", "Ask", {"amount": 120})
    assert [step["state"] for step in shown["steps"]] == ["Check", "Ask"]
    assert [wait["state"] for wait in shown["waits"]] == ["Ask"]
    assert perdure.json("show", "INV-6")["output"] == {"amount": 50}


def test_show_draws(perdure: Perdure) -> None:
    """`--diagram` prints Mermaid and nothing else."""
    assert perdure("show", "INV-7", "--diagram").stdout.startswith("flowchart")
    assert perdure("workflows", "show", NAME, "--diagram").stdout.startswith("flowchart")


def test_events_are_the_log(perdure: Perdure) -> None:
    """JSON has each event as it stands in the log, a line each."""
    lines = [json.loads(line) for line in perdure("events", "INV-6", "--json").stdout.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[0]["type"] == "ExecutionStarted"
    assert lines[0]["payload"] == {"input": {"amount": 50}, "process_id": "INV-6"}
    assert [line["type"] for line in lines if line["type"] != "CommandRefused"][-1] == "ExecutionSucceeded"
    assert len(perdure("events", "INV-6").stdout.splitlines()) == len(lines)


def test_waits_of_a_workflow_and_of_a_run(perdure: Perdure) -> None:
    """Open waits are listed, of all, of one workflow, of one run."""
    every = perdure.json("waits")["items"]
    assert [wait["process_id"] for wait in every] == ["INV-7"]
    assert perdure.json("waits", "--workflow", NAME)["items"] == every
    assert perdure.json("waits", "--process-id", "INV-6") == {"items": [], "after": None}


def test_a_workflow_with_its_definition(perdure: Perdure) -> None:
    """The definition of a version is shown as it was given."""
    shown = perdure.json("workflows", "show", NAME)
    assert shown["definition"] == APPROVAL
    assert (shown["status"], shown["shown_version"]) == ("published", 1)


def test_keys_are_listed_without_their_texts(perdure: Perdure) -> None:
    """A list of keys has no secret in it."""
    result = perdure("keys", "list", "--json")
    assert {key["name"] for key in json.loads(result.stdout)["items"]} == {"operator", "ci"}
    assert "wfk_" not in result.stdout


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["history", "invoice aproval"], f"Did you mean '{NAME}'?"),
        (["workflows", "show", "Invoice"], f"Did you mean '{NAME}'?"),
        (["workflows", "show", NAME, "--version", "9"], "its latest is 1"),
        (["show", "INV-8"], "there is no process or execution 'INV-8'. Did you mean 'INV-7' or 'INV-6'?"),
        (["events", "INV-8"], "there is no process or execution"),
        (["waits", "--process-id", "INV-8"], "there is no process or execution"),
        (["history", "--organization", "defalt"], "Did you mean 'default'?"),
        (["history", "--workspace", "other"], "has no workspace 'other'"),
        (["bulk", "show", "018bcfe5-6800-7000-8000-000000000000"], "there is no bulk job 018bcfe5"),
    ],
)
def test_what_is_not_there(perdure: Perdure, command: list[str], says: str) -> None:
    """What is not there ends with 1; the message says what, and what was perhaps meant."""
    result = perdure(*command, exits=1)
    assert says in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["history", "--after", "x"], "--after: 'x' is not accepted; it must be `after` of the `meta` of a page"),
        (["history", "--status", "done"], "'done' is not accepted; it must be one or several of pending, running"),
        (["history", "--from", "soon"], "'soon' is not accepted; it must be a time such as"),
        (["history", "--error", ""], "must be the name of an error"),
        (["history", "--limit", "0"], "range"),
        (["history", "--database", "sqlite:///nowhere.db"], "does not exist"),
        (["history", "--database", "mysql://x"], "not supported"),
        (["verify", "--database", "sqlite:///invoice.json"], "not a SQLite database"),
        (["show"], "Missing argument"),
    ],
)
def test_what_is_not_run(perdure: Perdure, command: list[str], says: str) -> None:
    """Wrong usage, or a database that cannot be read, ends with 2; none is made in passing."""
    assert says in perdure(*command, exits=2).stderr
    assert not Path("nowhere.db").exists()


def test_nothing_is_written(perdure: Perdure, folder: Path) -> None:
    """Reading leaves the database as it was, byte for byte, and no file beside it."""
    before = (folder / "runs.db").read_bytes()
    files = sorted(path.name for path in folder.iterdir())
    for command in READING:
        perdure(*command)
    assert (folder / "runs.db").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == files


EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r\nfake line"


async def plant() -> str:
    """A workflow and a run with control characters wherever a caller's text may stand."""
    definition: dict[str, Any] = {
        "StartAt": "A" + EVIL[:20],
        "States": {"A" + EVIL[:20]: {"Type": "Fail", "Error": EVIL, "Cause": EVIL}},
    }
    async with Engine.open("sqlite:///runs.db") as engine:
        workflow = await engine.create_workflow("evil" + EVIL, definition, description=EVIL)
        run = await engine.trigger(workflow.id, {"x" + EVIL: EVIL})
        await engine.result(run.id, timeout=30)
        caller = await engine.services.access.default_caller("cli:test" + EVIL)
        await engine.services.access.make_key(caller, "key" + EVIL, ("runs.view",))
    return run.id


def test_nobody_s_text_reaches_the_terminal_as_control_characters(perdure: Perdure) -> None:
    """Whatever a caller has sent, no command prints a character that a terminal would obey."""
    run = asyncio.run(plant())
    workflow = ids.text(ids.parse(perdure.json("show", run)["workflow_id"]))
    there = [["history"], ["waits"], ["workflows", "list"], ["keys", "list"], ["verify"], ["doctor"]]
    there += [["show", run], ["show", run, "--diagram"], ["events", run], ["history", "evil" + EVIL]]
    there += [["workflows", "show", workflow], ["workflows", "show", workflow, "--diagram"]]
    missing = [["show", EVIL], ["history", EVIL], ["workflows", "show", "evil"]]
    for command in [*there, *missing]:
        for form in ([], ["--json"]):
            result = perdure(*command, *form, exits=1 if command in missing else 0)
            said = result.stdout + result.stderr
            assert all(character.isprintable() or character == "\n" for character in said), command
            assert "\nfake line" not in said


def test_a_bulk_job_for_people(perdure: Perdure) -> None:
    """What it was about, how far it is, and who refused and why."""
    shown = perdure("bulk", "show").stdout
    job = perdure.json("bulk", "show")
    assert (job["status"], job["done"], job["failed_by_code"], job["reason"]) == (
        *("completed", 0, {"CONFLICT": 1}, "too late"),
    )
    for text in (job["id"], '{"status":"completed"}', "too late", "CONFLICT", job["failures"][0]["execution_id"]):
        assert text in shown
    assert perdure.json("bulk", "list")["items"][0]["id"] == job["id"]
    assert job["id"] in perdure("bulk", "list").stdout
