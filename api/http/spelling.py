"""Names of fields in refusals: a service names them as this code does, and a caller hears them as it wrote them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from perdure.api.validation import Request, members
from perdure.engine.errors import PerdureError


def names_of_members(kind: type[Request] | None) -> dict[str, str]:
    """What a request calls its members, by their names in this code, where the two differ."""
    found = () if kind is None else members(kind)
    return {field.name: field.encode_name for field in found if field.name.rstrip("_") != field.encode_name}


def respell(error: PerdureError, names: Mapping[str, str]) -> None:
    """Put the caller's names of fields into a refusal: at the beginning of its message, and in `details["field"]`.

    A name of several words is told from all others wherever it stands in the message, unless it is quoted: then it is
    a value.
    """
    for name, spelled in names.items():
        place = rf"(?<![\w'\"`.-]){re.escape(name)}(?![\w'\"`-])" if "_" in name else rf"^{re.escape(name)}(?=[:.\[])"
        error.message = re.sub(place, spelled, error.message)
        field = error.details.get("field")
        if isinstance(field, str):
            error.details["field"] = re.sub(rf"^{re.escape(name)}(?=$|[.\[])", spelled, field)
