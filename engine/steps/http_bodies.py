"""The bodies that `http_request` sends: JSON, forms, multipart, XML and text, as bytes that are the same each time."""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from perdure.engine.log.codec import encode_json
from perdure.engine.steps.http_action import PARTS_MAX
from perdure.engine.steps.http_fields import invalid, object_of, pairs_of, text_of_field

_JSON_TYPE: Final = re.compile(r"\s*[a-z0-9.-]+/(?:[a-z0-9.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_MEDIA_TYPE: Final = re.compile(r"[\x20-\x7e]+/[\x20-\x7e]+")
_PART: Final = ("name", "text", "base64", "filename", "contentType")
_NAME_MAX: Final = 255


def is_json_type(content_type: str) -> bool:
    """Whether a content type is that of JSON."""
    return _JSON_TYPE.fullmatch(content_type) is not None


def encode_body(kind: str, value: Any, headers: dict[str, str], field: str) -> bytes:
    """The bytes of a body that is given in the member `kind`; if `headers` have no content type they get one.

    `field` is the name of the member for the messages of `body`, which has another one in AWS's shape.

    Raises StepFailed: `Http.InvalidInput`; the cause names the member.
    """
    content_type = next((text for name, text in headers.items() if name.lower() == "content-type"), None)
    if kind in ("form", "multipart"):
        if content_type is not None:
            raise invalid(f"{kind} has a content type of its own: leave out that of headers")
        return _form(value, headers) if kind == "form" else _multipart(value, headers)
    if kind in ("xml", "text"):
        if not isinstance(value, str):
            raise invalid(f"{kind} must be text")
        if content_type is None:
            headers["Content-Type"] = f"{'application/xml' if kind == 'xml' else 'text/plain'}; charset=utf-8"
        return value.encode()
    if content_type is None:
        headers["Content-Type"] = "application/json"
    elif kind == "body" and isinstance(value, str):
        return value.encode()
    elif not is_json_type(content_type):
        wanted = "be text" if kind == "body" else "not be there"
        raise invalid(f"{field if kind == 'body' else kind} must {wanted}, since the Content-Type is not JSON")
    return encode_json(value)


def _form(value: Any, headers: dict[str, str]) -> bytes:
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return urlencode(pairs_of(value, "form")).encode()


class _Part(NamedTuple):
    head: bytes
    content: bytes


def _multipart(value: Any, headers: dict[str, str]) -> bytes:
    """Parts as RFC 7578 has them; the boundary is made from them, so that a retry sends the same bytes."""
    if not isinstance(value, list) or not 0 < len(value) <= PARTS_MAX:
        raise invalid(f"multipart must be an array of 1 to {PARTS_MAX} parts")
    parts = [_part(part, f"multipart.{index}") for index, part in enumerate(value)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part.head).to_bytes(8) + part.head + len(part.content).to_bytes(8) + part.content)
    boundary = f"perdure-{digest.hexdigest()}".encode()
    headers["Content-Type"] = f"multipart/form-data; boundary={boundary.decode()}"
    body = b"".join(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, *part) for part in parts)
    return body + b"--%b--\r\n" % boundary


def _part(value: Any, at: str) -> _Part:
    given = object_of(value, at, _PART, ("name",))
    name = text_of_field(given["name"], f"{at}.name", _NAME_MAX)
    if ("text" in given) == ("base64" in given):
        raise invalid(f"{at} must have text or base64, one of them")
    head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    if "filename" in given:
        head += f'; filename="{_quoted(text_of_field(given["filename"], f"{at}.filename", _NAME_MAX))}"'
    usual = "application/octet-stream" if "filename" in given or "base64" in given else None
    media_type = given.get("contentType", usual)
    if media_type is not None:
        if not isinstance(media_type, str) or _MEDIA_TYPE.fullmatch(media_type) is None:
            raise invalid(f"{at}.contentType must be a content type such as text/plain")
        head += f"\r\nContent-Type: {media_type}"
    return _Part(head.encode(), _content(given, at))


def _content(given: dict[str, Any], at: str) -> bytes:
    kind = "text" if "text" in given else "base64"
    content = given[kind]
    if not isinstance(content, str):
        raise invalid(f"{at}.{kind} must be text")
    if kind == "text":
        return content.encode()
    try:
        return b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{at}.base64 is no base64") from None


def _quoted(name: str) -> str:
    """A name between quotation marks, as browsers write it (WHATWG HTML, multipart/form-data)."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
