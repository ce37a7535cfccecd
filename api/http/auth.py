"""Authentication: the key in either header, its scopes, and the two spellings of scopes."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from perdure.api.http.headers import api_key
from perdure.api.http.throttle import Throttle
from perdure.engine.errors import Unauthorized
from perdure.engine.runtime.callers import Caller
from perdure.engine.services.access import Access, has_form
from perdure.engine.services.principals import Principal

NOBODY: Final = Principal(Caller(b"", b"", "nobody:"), frozenset())
"""Who asks what everybody may: it sees nothing of anybody's."""


async def authenticate(access: Access, throttle: Throttle, request: Request) -> Principal:
    """The principal of a request.

    Raises `Unauthorized` without a key that is known, and neither revoked nor expired, and `RateLimited` if its address
    has sent too many such keys; one that is in use is let through all the same, since many may share an address. Nobody
    but who guesses is to notice, and a guess is to cost the database nothing.
    """
    key = api_key(request.headers)
    address = request.client.host if request.client else ""
    is_doubted = throttle.is_over(address) and not await access.is_known(key)
    if is_doubted:
        throttle.check(address, may_be_right=has_form(key))
    principal = await access.principal(key)
    if principal is None:
        if not is_doubted:
            throttle.wrong(address)
        raise Unauthorized("this key is unknown, revoked or expired")
    return principal
