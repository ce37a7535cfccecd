"""Conditional requests (RFC 9110, section 13): tags of what is shown, and what a request says that they must be."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from typing import Final

from starlette.datastructures import Headers

from perdure.engine.errors import Invalid, PreconditionFailed

ANY: Final = "*"
TAG_BYTES: Final = 15

_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_EACH: Final = re.compile(_TAG)


def tag_of(content: bytes) -> str:
    """The strong tag of an answer: two answers have the same one only if they are the same bytes."""
    return f'"{urlsafe_b64encode(hashlib.sha256(content).digest()[:TAG_BYTES]).decode()}"'


def is_known(headers: Headers, tag: str) -> bool:
    """Whether who asks has it already, by `If-None-Match`; a header that is no list of tags says nothing."""
    given = ",".join(headers.getlist("if-none-match")).strip()
    if given == ANY:
        return True
    return bool(_TAGS.fullmatch(given)) and tag in [each.removeprefix("W/") for each in _EACH.findall(given)]


def wanted_tags(headers: Headers) -> list[str] | None:
    """The tags of `If-Match`, one of which the thing must have; null if it may have any. Raises `Invalid`."""
    given = ",".join(headers.getlist("if-match")).strip()
    if given in ("", ANY) and ("if-match" not in headers or given == ANY):
        return None
    if not _TAGS.fullmatch(given):
        raise Invalid('If-Match: it must be the ETag of a GET, as in "AbCd", several with commas between, or *')
    return _EACH.findall(given)


def not_that(tag: str) -> PreconditionFailed:
    """The refusal of a change that was made from something else than what is there now, which has this tag."""
    message = "If-Match: it is no longer what you have seen; read it again, and make the change from that"
    return PreconditionFailed(message, {"etag": tag})
