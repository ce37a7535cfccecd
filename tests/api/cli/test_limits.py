"""Settings and places in line on the command line, in both modes."""

from __future__ import annotations

from tests.api.cli.conftest import Mode, Perdure

NAME = "one at a time"


def test_settings_are_said_one_by_one(mode: Mode, perdure: Perdure) -> None:
    """As the API names them; what is no setting, or not NAME=VALUE, is refused by name."""
    line = ("workflows", "create", "invoice.asl.json", "--name", NAME)
    wrong = perdure(*line, "--set", "concurrencyLimit", exits=2).stderr
    assert "--set: 'concurrencyLimit' is not NAME=VALUE" in wrong
    assert "settings.concurrencyLimt" in perdure(*line, "--set", "concurrencyLimt=1", exits=1).stderr
    assert "settings.timeoutMs: 'soon'" in perdure(*line, "--set", "timeoutMs=soon", exits=1).stderr

    assert perdure.json(*line, "--set", "concurrencyLimit=1", "--set", "timeoutMs=3600000")["version"] == 1
    apply = ("workflows", "apply", "invoice.asl.json", "--name", NAME)
    assert perdure.json(*apply)["outcome"] == "unchanged"
    assert perdure.json(*apply, "--set", "timeoutMs=null")["version"] == 2


def test_a_run_that_queues_says_so(mode: Mode, perdure: Perdure) -> None:
    """In words, and for programs."""
    perdure("workflows", "create", "invoice.asl.json", "--name", NAME, "--set", "concurrencyLimit=1")
    for number in (1, 2, 3):
        perdure("trigger", NAME, "--input", '{"amount": 500}', "--process-id", f"ONE-{number}")
    shown = perdure.json("show", "ONE-3")
    assert shown["status"] == "pending"
    assert shown["queue"]["limits"] == [{"kind": "workflow", "limit": 1}]
    assert (
        f"number {shown['queue']['position']} for a place in the workflow's limit of 1"
        in perdure("show", "ONE-3").stdout
    )


def test_the_organizations_settings(mode: Mode, perdure: Perdure) -> None:
    """Shown and changed; what is not accepted is refused, and nothing has changed."""
    assert perdure.json("organization", "show")["settings"] == {"concurrencyLimit": None}
    assert "settings.concurrencyLimit: 0" in perdure("organization", "set", "concurrencyLimit=0", exits=1).stderr
    assert perdure.json("organization", "set", "concurrencyLimit=100")["settings"] == {"concurrencyLimit": 100}
    assert "100" in perdure("organization", "show").stdout
    assert perdure.json("organization", "set", "concurrencyLimit=null")["settings"] == {"concurrencyLimit": None}
