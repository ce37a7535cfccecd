"""What lies at the root, and is of no API: health, the document, and every path that nobody has."""

from __future__ import annotations

from typing import Final

from perdure.api.dialects.envelopes import failure
from perdure.api.dialects.schemas import Refusal
from perdure.api.http.dialect import ROOT as PREFIX
from perdure.api.http.dialect import Dialect

HEALTH: Final = "Health"
DOCUMENTATION: Final = "Documentation"

ROOT: Final = Dialect(
    name="root",
    prefix=PREFIX,
    error_envelope=failure,
    error_schema=Refusal,
    tags={HEALTH: "Whether the server lives, and wants requests.", DOCUMENTATION: "This document."},
)
