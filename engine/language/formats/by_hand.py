"""Shows a compiled definition as one that may be written by hand: what only a compiled one may hold is taken out.

Times are rounded up to whole seconds and outputs are not checked, as in a definition that is compiled to stand alone
(record 52). Of a definition that was written by hand this gives the same again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from perdure.engine.language.values import Json

_TIMES: Final = ("TimeoutSeconds", "IntervalSeconds", "MaxDelaySeconds")
_HOLDING: Final = ("ItemProcessor", "Iterator")


def by_hand(definition: Mapping[str, Json]) -> dict[str, Json]:
    """Give the definition as it may be written by hand."""
    return _machine(definition)


def _machine(machine: Mapping[str, Any]) -> dict[str, Json]:
    states = {name: _state(state) for name, state in machine["States"].items()}
    return _whole({**machine, "States": states})


def _state(state: Mapping[str, Any]) -> dict[str, Json]:
    shown = _whole({name: member for name, member in state.items() if name != "OutputSchema"})
    for name in _HOLDING:
        if type(shown.get(name)) is dict:
            shown[name] = _machine(state[name])
    if type(shown.get("Branches")) is list:
        shown["Branches"] = [_machine(branch) for branch in state["Branches"]]
    if type(shown.get("Retry")) is list:
        shown["Retry"] = [_retrier(retrier) for retrier in state["Retry"]]
    return shown


def _retrier(retrier: Mapping[str, Any]) -> dict[str, Json]:
    shown: dict[str, Any] = _whole(retrier)
    longest = shown.get("MaxDelaySeconds")
    if longest is not None and longest <= shown.get("IntervalSeconds", 1) and shown != retrier:
        del shown["MaxDelaySeconds"]  # it must be greater: rounded up they are one, and each pause is so long
        return {**shown, "IntervalSeconds": longest, "BackoffRate": 1}
    return shown


def _whole(members: Mapping[str, Any]) -> dict[str, Any]:
    """Give an object with the times in it in whole seconds."""
    return {
        name: math.ceil(member) if name in _TIMES and type(member) is float else member
        for name, member in members.items()
    }
