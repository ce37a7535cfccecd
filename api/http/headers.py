"""Request headers: access keys, idempotency keys, request ids, and preferred wait."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers

from perdure.engine.errors import Invalid, NoKey, Unauthorized

HOLD_DEFAULT_MS: Final = 2000
HOLD_MAX_S: Final = 30
KEY_MAX: Final = 255
REQUEST_ID: Final = "X-Request-Id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_BEARER = re.compile(r"bearer +(?P<key>\S+) *", re.IGNORECASE)
_IDEMPOTENCY_KEY = re.compile(rf"[\x20-\x7e]{{1,{KEY_MAX}}}")
# A preference as RFC 7240, section 2, writes it: a token, a value perhaps, parameters perhaps.
_PREFERENCE = re.compile(
    r"\s*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(?P<quote>\"?)(?P<value>[^\s;,\"]*)(?P=quote)\s*)?(?:;.*)?"
)


def api_key(headers: Headers) -> str:
    """The key that a request carries, in either header. Raises `Unauthorized`."""
    keys = {value for value in headers.getlist("x-api-key") if value}
    authorizations = headers.getlist("authorization")
    for authorization in authorizations:
        bearer = _BEARER.fullmatch(authorization)
        if bearer is None:
            raise Unauthorized("Authorization: it must be Bearer KEY; or send the key as x-api-key")
        keys.add(bearer["key"])
    if not keys:
        raise NoKey("there is no key; send one as x-api-key: KEY, or as Authorization: Bearer KEY")
    if len(keys) > 1:
        raise Unauthorized("there are two different keys; send one, as x-api-key or as Authorization: Bearer KEY")
    return keys.pop()


def request_id(headers: Headers, names: Iterable[str] = (REQUEST_ID,)) -> str | None:
    """The caller's own name for a request, under the first of these that has one fit for a header and a log."""
    given = (headers.get(name, "") for name in names)
    return next(filter(_REQUEST_ID.fullmatch, given), None)


def idempotency_key(headers: Headers) -> str | None:
    """The key under which the first 200 is given again. Raises `Invalid`."""
    given = headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1:
        raise Invalid("Idempotency-Key: it is there twice; send one")
    if not _IDEMPOTENCY_KEY.fullmatch(given[0]):
        raise Invalid(f"Idempotency-Key: it must have 1 to {KEY_MAX} printable ASCII characters")
    return given[0]


def one_key(in_header: str | None, in_body: str | None) -> str | None:
    """The idempotency key of a request that may have it in its body, too (`idempotencyKey`). Raises `Invalid`."""
    if in_body is not None and not _IDEMPOTENCY_KEY.fullmatch(in_body):
        message = f"idempotencyKey: it must have 1 to {KEY_MAX} printable ASCII characters"
        raise Invalid(message, {"field": "idempotencyKey"})
    if in_header is not None and in_body is not None and in_header != in_body:
        message = "idempotencyKey: it is not the same as the header Idempotency-Key; send one, or both alike"
        raise Invalid(message, {"field": "idempotencyKey"})
    return in_body if in_header is None else in_header


def preferred_wait_s(headers: Headers) -> int | None:
    """The seconds of `Prefer: wait=N`, from 0 to 30; anything else is no preference of ours (RFC 7240, section 2)."""
    for header in headers.getlist("prefer"):
        for part in header.split(","):
            preference = _PREFERENCE.fullmatch(part)
            if preference is None or preference["name"].lower() != "wait":
                continue
            value = preference["value"] or ""  # of several the first counts
            is_number = value.isascii() and value.isdigit() and len(value) <= len(str(HOLD_MAX_S))
            return int(value) if is_number and int(value) <= HOLD_MAX_S else None
    return None
