"""Settings: a flag, else the environment, else the default; and errors that say where a value came from."""

from __future__ import annotations

from typing import Any

import click
import pytest

from perdure.api.settings import SECRET, SettingError, Settings, load, unknown
from perdure.cli.main import main


def options_of_serve() -> set[str]:
    serve = main.get_command(click.Context(main), "serve")
    assert serve is not None
    return {str(option.name) for option in serve.params}


def test_a_flag_wins_over_the_environment_and_that_over_the_default() -> None:
    """Each setting by itself; an empty variable is none."""
    environment = {"PERDURE_PORT": "9000", "PERDURE_HOST": "::1", "PERDURE_STEPS": "", "OTHER": "x"}
    settings = load({"port": "7000", "host": None}, environment)
    assert (settings.port, settings.host, settings.steps) == (7000, "::1", None)
    assert settings.database == Settings().database
    assert load({"port": 7000}, {}).port == 7000


@pytest.mark.parametrize(
    ("flags", "environment", "says"),
    [
        ({"port": "abc"}, {}, ("port", "'abc'", "--port", "an integer from 0 to 65535")),
        ({}, {"PERDURE_PORT": "65536"}, ("port", "'65536'", "PERDURE_PORT")),
        ({"log_format": "xml"}, {}, ("log_format", "'xml'", "--log-format", "'console' or 'json'")),
        ({}, {"PERDURE_ALLOW_PRIVATE_ADDRESSES": "yes"}, ("PERDURE_ALLOW_PRIVATE_ADDRESSES", "true or false")),
        ({}, {"PERDURE_WRITER": "fork"}, ("writer", "'fork'", "PERDURE_WRITER", "'process' or 'thread'")),
        ({}, {"PERDURE_RESUME_SOURCES": "SAP,,X"}, ("resume_sources", "'SAP,,X'", "separated by commas")),
        ({"resume_sources": "SAP, X"}, {}, ("resume_sources", "--resume-sources", "separated by commas")),
        ({}, {"PERDURE_BODY_MAX_BYTES": "1"}, ("body_max_bytes", "'1'", "1024")),
    ],
)
def test_an_error_names_setting_value_source_and_what_is_accepted(
    flags: dict[str, Any], environment: dict[str, str], says: tuple[str, ...]
) -> None:
    """So that nobody has to look for it."""
    with pytest.raises(SettingError) as caught:
        load(flags, environment)
    assert not [part for part in says if part not in str(caught.value)]


@pytest.mark.parametrize("value", ["a secret with blanks", "secret-of-15-ch"])
def test_a_key_that_cannot_be_one_is_not_repeated(value: str) -> None:
    """It has 16 characters at least, and its value stays out of the error."""
    with pytest.raises(SettingError) as caught:
        load({}, {"PERDURE_BOOTSTRAP_KEY": value})
    assert "PERDURE_BOOTSTRAP_KEY" in str(caught.value)
    assert "16 to 255" in str(caught.value)
    assert load({}, {"PERDURE_BOOTSTRAP_KEY": "secret-of-16-cha"}).bootstrap_key is not None
    assert "secret" not in str(caught.value)


def test_a_key_is_not_taken_from_a_flag_by_the_command() -> None:
    """Arguments can be seen by other users of a computer."""
    assert not [name for name in options_of_serve() if "key" in name]


def test_every_setting_has_a_flag_or_is_a_secret() -> None:
    """What can be set in the environment can be set by an option of the same name."""
    assert options_of_serve() == set(Settings.__struct_fields__) - SECRET


def test_a_variable_that_is_no_setting_is_told() -> None:
    """With what was probably meant; those of a client, and others' variables, are none of it."""
    environment = {"PERDURE_BODY_MAX": "1", "PERDURE_KEY": "k", "PERDURE_PORT": "1", "PATH": "", "PERDURE_X": ""}
    told = unknown(environment)
    assert [line.split(":")[0] for line in told] == ["PERDURE_BODY_MAX", "PERDURE_X"]
    assert "PERDURE_BODY_MAX_BYTES" in told[0]
    assert "ignored" in told[1]
