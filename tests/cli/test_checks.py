"""Checks and repairs: `verify`, `doctor` and `rebuild`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from perdure.api.client import Client, Unavailable
from perdure.engine.audit.store_audit import compare_projections
from perdure.engine.runtime.clock import SystemClock
from perdure.store.sqlite import open_sqlite
from tests.cli.conftest import KEY, Perdure, Served


@contextmanager
def tampering(folder: Path) -> Iterator[sqlite3.Connection]:
    """The database, open to whoever can write the file."""
    with closing(sqlite3.connect(folder / "runs.db")) as connection:
        yield connection
        connection.commit()


def differences(folder: Path) -> list[str]:
    """Where the projections are not what the log folds to."""

    async def compared() -> list[str]:
        store = await open_sqlite(folder / "runs.db", read_only=True)
        try:
            return await compare_projections(store)
        finally:
            await store.close()

    return asyncio.run(compared())


def checks(perdure: Perdure, *arguments: str, exits: int = 0) -> dict[str, dict[str, Any]]:
    """The doctor's checks by name."""
    found = perdure.json("doctor", *arguments, exits=exits)
    return {check["check"]: check for check in found["checks"]}


# --- verify ------------------------------------------------------------------------------------------------------


def test_a_log_that_holds(perdure: Perdure) -> None:
    """How much was looked at is said in one line, or as JSON."""
    assert perdure("verify").stdout.endswith("streams: every chain holds\n")
    assert perdure.json("verify")["breaks"] == []


def test_streams_that_do_not_hold_are_counted_once_each(perdure: Perdure, folder: Path) -> None:
    """A stream with several faults is one stream; one that lost its row counts as a stream too."""
    with tampering(folder) as connection:
        runs = [row[0] for row in connection.execute("SELECT execution_id FROM executions ORDER BY execution_id")]
        connection.execute("DELETE FROM events WHERE stream_id = ? AND seq IN (2, 3)", [runs[0]])
        connection.execute("DELETE FROM streams WHERE stream_id = ?", [runs[1]])
    found = perdure.json("verify", exits=1)
    assert len(found["breaks"]) > found["broken_streams"]
    total = 5  # an organization, a workflow, two runs, a bulk job
    assert (found["broken_streams"], found["streams"]) == (3, total)  # the runs, and the organization: its pin fails
    assert f"3 of {total} streams do not hold" in perdure("verify", exits=1).stderr


def test_rights_that_the_log_does_not_give(perdure: Perdure, folder: Path) -> None:
    """Who has the file cannot give a key more rights unseen by `verify` and `doctor`; what is not compared is said."""
    said = perdure("verify").stderr
    assert [line.split(":")[:2] for line in said.splitlines()] == [
        ["not compared", " idempotency keys"],
        ["not compared", " nodes and uses of keys"],
    ]
    with tampering(folder) as connection:
        connection.execute("UPDATE api_keys SET scopes = 'operator', revoked_at = NULL")
    assert "the fold says" in perdure("verify", exits=1).stdout
    assert checks(perdure, exits=1)["chains"]["status"] == "fail"


# --- doctor ------------------------------------------------------------------------------------------------------


def test_a_database_in_good_health(perdure: Perdure, folder: Path) -> None:
    """Nothing fails; each check says what it found."""
    (folder / "runs.db").chmod(0o600)
    found = checks(perdure)
    assert list(found) == [
        *("database", "schema", "sqlite", "file mode", "wal", "server", "nodes"),
        *("quarantine", "quotas", "timers", "keys", "chains"),
    ]
    assert {name for name, check in found.items() if check["status"] != "ok"} <= {"sqlite"}


def test_what_is_wrong_is_found(perdure: Perdure, folder: Path) -> None:
    """An open file, an unclean death, overdue timers and a quarantined run are found, each with what to do."""
    (folder / "runs.db").chmod(0o644)
    with tampering(folder) as connection:
        run = connection.execute("SELECT execution_id FROM executions WHERE status = 'waiting'").fetchone()[0]
        connection.execute("UPDATE nodes SET stopped_at = NULL")
        connection.execute("INSERT INTO timers VALUES (1, ?, 9)", [run])
        connection.execute("UPDATE api_keys SET revoked_at = 1")
        connection.execute(
            "UPDATE executions SET paused_seq = 2, paused_quota = 'events' WHERE execution_id = ?", [run]
        )
        connection.execute("UPDATE events SET type = 'ExecutionQuarantined' WHERE stream_id = ? AND seq = 3", [run])
    found = checks(perdure, exits=1)
    wrong = {name: check["status"] for name, check in found.items() if check["status"] != "ok" and name != "sqlite"}
    assert wrong == {
        "file mode": "warn",
        "nodes": "warn",
        "timers": "warn",
        "keys": "warn",
        "quarantine": "fail",
        "quotas": "warn",
        "chains": "fail",
    }
    assert all(check["advice"] for name, check in found.items() if name in wrong)
    assert "chmod 600" in perdure("doctor", exits=1).stderr


def test_a_run_that_left_quarantine_is_not_in_it(perdure: Perdure, folder: Path) -> None:
    """Only the last word counts: a release that came after, or a quarantine after that."""
    with tampering(folder) as connection:
        waiting = "SELECT execution_id FROM executions WHERE status = 'waiting' AND seq >= 3"
        run = connection.execute(waiting).fetchone()[0]
        change = "UPDATE events SET type = ? WHERE stream_id = ? AND seq = ?"
        connection.execute(change, ["ExecutionQuarantined", run, 2])
        connection.execute(change, ["ExecutionReleased", run, 3])
    assert checks(perdure, exits=1)["quarantine"]["status"] == "ok"
    with tampering(folder) as connection:
        connection.execute(change, ["ExecutionReleased", run, 1])
        connection.execute(change, ["ExecutionQuarantined", run, 3])
    found = checks(perdure, exits=1)["quarantine"]
    assert (found["status"], found["detail"][:7]) == ("fail", "1 runs:")


def test_chains_are_verified_as_many_as_asked_for(perdure: Perdure, folder: Path) -> None:
    """Only the chains of the newest runs are walked."""
    with tampering(folder) as connection:
        oldest = connection.execute("SELECT min(execution_id) FROM executions").fetchone()[0]
        connection.execute("UPDATE events SET recorded_at = 1 WHERE stream_id = ? AND seq = 2", [oldest])
    assert checks(perdure, "--streams", "1")["chains"]["status"] == "ok"
    assert checks(perdure, "--streams", "2", exits=1)["chains"]["status"] == "fail"


def test_a_database_that_cannot_be_read(perdure: Perdure) -> None:
    """A database that is not there is a check that fails, the only one."""
    found = perdure.json("doctor", "--database", "sqlite:///nowhere.db", exits=1)
    assert (found["status"], [check["check"] for check in found["checks"]]) == ("fail", ["database"])


def test_runs_at_a_step_that_is_not_registered(perdure: Perdure, folder: Path) -> None:
    """With --steps, a run that is at an unknown step fails the check; one that may come to it is a warning."""
    for name, steps in (("steps_before", ["a", "b"]), ("steps_lost", []), ("steps_partly", ["a"])):
        lines = [f"registry.step({step!r})(lambda value: value)\n" for step in steps]
        (folder / f"{name}.py").write_text(
            "from perdure.engine.steps import Registry\nregistry = Registry()\n" + "".join(lines)
        )
    task = {"Type": "Task", "Resource": "a", "Next": "B/~"}
    definition = {"StartAt": "A", "States": {"A": task, "B/~": {"Type": "Task", "Resource": "b", "End": True}}}
    (folder / "two.json").write_text(json.dumps(definition))
    perdure("workflows", "create", "two.json", "--steps", "steps_before:registry")
    perdure("trigger", "two")
    assert checks(perdure, "--steps", "steps_before:registry")["steps"]["status"] == "ok"
    assert checks(perdure, "--steps", "steps_partly:registry")["steps"]["status"] == "warn"
    assert checks(perdure, "--steps", "steps_lost:registry", exits=1)["steps"]["status"] == "fail"


def test_a_run_that_only_waits_is_at_no_step(perdure: Perdure, folder: Path) -> None:
    """Whether a parent awaits it or not: what it waits for comes from outside."""
    (folder / "none.py").write_text("from perdure.engine.steps import Registry\nregistry = Registry()\n")
    with tampering(folder) as connection:
        connection.execute("UPDATE executions SET awaited_by = execution_id WHERE status = 'waiting'")
        connection.execute("""UPDATE workflow_versions SET definition = replace(definition, 'wait_for_resume', 'b')""")
    found = checks(perdure, "--steps", "none:registry", exits=1)  # the definition that was changed fails the chain
    assert (found["steps"]["status"], found["chains"]["status"]) == ("ok", "fail")


# --- rebuild -----------------------------------------------------------------------------------------------------


def test_damaged_projections_are_made_again(perdure: Perdure, folder: Path) -> None:
    """Whatever stands in the projections, a rebuild makes them what the log folds to."""
    before = perdure.json("history")
    with tampering(folder) as connection:
        connection.execute("DELETE FROM waits")
        connection.execute("DELETE FROM executions WHERE status = 'completed'")
        connection.execute("UPDATE executions SET status = 'failed'")
        connection.execute("INSERT INTO timers VALUES (1, ?, 9)", [bytes(16)])
    assert differences(folder)
    made = {"executions": 2, "waits": 1, "timers": 0, "schedules": 0, "bulk_jobs": 1}
    assert perdure.json("rebuild") == made
    assert differences(folder) == []
    assert perdure.json("history") == before
    assert perdure.json("verify")["breaks"] == []


def test_a_log_that_cannot_be_folded_leaves_the_projections(perdure: Perdure, folder: Path) -> None:
    """If one run cannot be folded, it is named, and nothing has changed."""
    before = perdure.json("history")
    with tampering(folder) as connection:
        run = connection.execute("SELECT execution_id FROM executions WHERE status = 'waiting'").fetchone()[0]
        connection.execute("UPDATE events SET data = '{}' WHERE stream_id = ? AND seq = 2", [run])
    said = perdure("rebuild", exits=1).stderr
    assert "nothing was changed" in said
    assert before["items"][0]["execution_id"] in said
    assert perdure.json("history") == before


@pytest.mark.parametrize("command", [["verify"], ["doctor"], ["rebuild"]], ids=" ".join)
def test_words_for_people(perdure: Perdure, command: list[str]) -> None:
    """Without --json there are words, and no JSON."""
    assert not perdure(*command).stdout.startswith("{")


class Settable(SystemClock):
    """A computer's clock that can be set by so much."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        super().__init__(lambda: time.time_ns() + self.ahead_ms * 1_000_000)


def test_the_doctor_accepts_a_step_of_a_servers_clock(perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness is green again; without a step there is nothing to accept; whoever is no operator is refused."""
    clock = Settable()
    with Served("sqlite:///runs.db", clock) as server:
        monkeypatch.setenv("PERDURE_SERVER", server.url)
        monkeypatch.setenv("PERDURE_KEY", KEY)
        assert perdure("doctor", "--accept-clock").stdout == "nothing to accept\n"
        limited = perdure.json("keys", "create", "l", "--scope", "runs.view")["key"]
        clock.ahead_ms = -3_600_000
        with Client(server.url, KEY) as client:
            with pytest.raises(Unavailable, match="back by 1 h"):
                client.ready()
            assert "lacks the scope operator" in perdure("doctor", "--accept-clock", "--key", limited, exits=2).stderr
            assert not client.clock().is_trusted
            done = perdure("doctor", "--accept-clock")
            assert done.stdout == "accepted\n"
            assert "was moved by -36" in done.stderr
            assert client.ready().status == "ready"
            assert client.clock().is_trusted
        assert perdure.json("doctor", "--accept-clock") == {"message": "nothing to accept", "step_ms": 0}
        assert perdure.json("doctor")["status"] != "fail"
    monkeypatch.delenv("PERDURE_SERVER")
    assert "name the server with --server" in perdure("doctor", "--accept-clock", exits=2).stderr
