"""Settings and places in line on the command line, in both modes."""

from __future__ import annotations

from tests.cli.conftest import Mode, Perdure

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
    quotas = dict.fromkeys(("events", "bytes", "transitionsPerSecond", "openRuns", "childDepth"))
    unset = {"concurrencyLimit": None, "quotas": quotas}
    assert perdure.json("organization", "show")["settings"] == unset
    assert "settings.concurrencyLimit: 0" in perdure("organization", "set", "concurrencyLimit=0", exits=1).stderr
    change = ("organization", "set")
    assert perdure.json(*change, "concurrencyLimit=100")["settings"] == unset | {"concurrencyLimit": 100}
    assert "100" in perdure("organization", "show").stdout
    assert perdure.json(*change, "concurrencyLimit=null")["settings"] == unset
    given = perdure.json(*change, "quotas.openRuns=9", "quotas.events=50000")["settings"]
    assert given == unset | {"quotas": quotas | {"openRuns": 9, "events": 50_000}}
    assert "quotas.openRuns" in perdure("organization", "show").stdout
    assert "settings.quotas.openRun: there is no" in perdure(*change, "quotas.openRun=9", exits=1).stderr
    assert perdure.json(*change, "quotas=null")["settings"] == unset
    both = perdure(*change, "quotas=null", "quotas.events=500", exits=2).stderr
    assert "quotas is set as a whole and by 'quotas.events': say one of them" in both


def test_quotas_of_a_workflow(mode: Mode, perdure: Perdure) -> None:
    """Said with dots; the trigger beyond one says which, and a raised one lets it through."""
    line = ("workflows", "create", "invoice.asl.json", "--name", NAME)
    wrong = perdure(*line, "--set", "quotas.openRuns=0", exits=1).stderr
    assert "settings.quotas.openRuns: 0 is not accepted; it must be " in wrong
    perdure(*line, "--set", "quotas.openRuns=1", "--set", "quotas.events=500")
    perdure("trigger", NAME, "--input", '{"amount": 500}')
    refused = perdure("trigger", NAME, "--input", '{"amount": 500}', exits=1).stderr
    assert "its quota (quotas.openRuns of the workflow) is 1" in refused
    perdure("workflows", "apply", "invoice.asl.json", "--name", NAME, "--set", "quotas.openRuns=2")
    perdure("trigger", NAME, "--input", '{"amount": 500}')
