"""The names that a template may use, and the variables of the compiled machine that they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from perdure.engine.language.diagnostics import NEAR_MAX
from perdure.engine.language.values import shown
from perdure.engine.suggestions import did_you_mean

RESERVED: Final = re.compile(r"\$(?:_.*|states|run_.*|item_[0-9]+|index_[0-9]+|step_[0-9]+_.*|wait_.*|variable_.*)")
"""Variables of the compiled machine: a template reads them by their names in the format."""

ROOTS: Final = ("input", "trigger", "steps", "variables", "item", "index", "now", "runId", "credentials")
"""Every name that a path can begin with."""

KEY_MAX: Final = 50
"""Characters of the part of a variable's name that comes from the author's name."""

_ODD: Final = re.compile(r"[^A-Za-z0-9_]")
_KNOWN_MAX: Final = 50
"""Names that an unknown one is compared with: those that begin alike before others."""


class Names(msgspec.Struct, frozen=True):
    """The names that are in scope where a template stands.

    `roots`: the JSONata that `input`, `item` and so on stand for; one that is not here is not in scope.
    `steps`: by the id of each step the variable, with its `$`, that its output is kept in.
    `variables`: likewise by the author's variables.
    `has_credentials`: whether `credentials.NAME` may stand here.
    `aliases`: other names for the outputs of steps: the ids of these by name.
    """

    roots: Mapping[str, str]
    steps: Mapping[str, str]
    variables: Mapping[str, str]
    has_credentials: bool = False
    aliases: Mapping[str, str] = {}

    def in_scope(self) -> list[str]:
        """List what a path can begin with here."""
        also = {"steps", "variables", *(("credentials",) if self.has_credentials else ())}
        return [*(root for root in ROOTS if root in self.roots or root in also), *self.aliases]


class TemplateRefused(ValueError):
    """A template cannot be compiled; the text says why in one sentence."""


def keys_for(names: Iterable[str]) -> dict[str, str]:
    """Give each name a text of its own that can be part of a variable's name."""
    keys: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = _ODD.sub("_", name)[:KEY_MAX]
        key, number = plain, 2
        while key in taken:
            key, number = f"{plain}_{number}", number + 1
        taken.add(key)
        keys[name] = key
    return keys


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Say that there is no such thing, and which was probably meant."""
    first = name.lstrip("$")[:1].lower()
    candidates = sorted(known, key=lambda other: other.lstrip("$")[:1].lower() != first)[:_KNOWN_MAX]
    near = did_you_mean(name, candidates) if len(name) <= NEAR_MAX else ""
    return f"there is no {what} {shown(name)}.{near}"
