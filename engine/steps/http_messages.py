"""Requests and responses of `http_request` as values; no network.

Its input is checked field by field before anything is sent. There are two shapes, ours and that of AWS's
`arn:aws:states:::http:invoke`; each is answered in kind.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from yarl import URL

from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.steps.catalog import HTTP_REQUEST
from perdure.engine.steps.registry import StepFailed

INVALID_INPUT: Final = "Http.InvalidInput"
TIMEOUT_S: Final = 30.0
TIMEOUT_S_MAX: Final = 300.0
URL_MAX: Final = 8_192
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_OWN_FIELDS: Final = {name: name for name in HTTP_REQUEST.field_names}
_AWS_FIELDS: Final = {
    "method": "Method",
    "url": "ApiEndpoint",
    "headers": "Headers",
    "query": "QueryParameters",
    "body": "RequestBody",
}
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_URLS: Final = re.compile(r"[\x00-\x20\x7f\\]")
_USERINFO: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*@")
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?!.{{255}})(?:{_LABEL}\.)*{_LABEL}\.?")
# They frame the message or choose who gets it: one that contradicts what is sent smuggles a request.
_HEADERS_OF_OURS: Final = frozenset(
    ("connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding")
) | {"upgrade"}
_HEADERS_FOR_ANYONE: Final = frozenset(("accept", "accept-language", "content-type", "idempotency-key", "user-agent"))
_JSON_TYPE: Final = re.compile(r"\s*[a-z0-9.-]+/(?:[a-z0-9.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_CHARSET: Final = re.compile(r';\s*charset="?([A-Za-z0-9_-]+)', re.IGNORECASE)
# A server must not choose just any of Python's codecs: some are slow, some give what is not Unicode.
_CHARSETS: Final = {
    "ascii": "ascii",
    "us-ascii": "ascii",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request that has been checked.

    `method`: one of METHODS.
    `url`: http or https, with a host, without userinfo and fragment.
    `headers`: in order, at most one of each name.
    `body`: what is sent; None for nothing.
    `timeout_s`: seconds for all of it, redirects included.
    `is_aws`: whether the answer is to have AWS's shape.
    """

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None = None
    timeout_s: float = TIMEOUT_S
    is_aws: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """A response. `headers` are in order, and may repeat a name; `body` is decompressed."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def content(self) -> Any:
        """The body as JSON if its content type says so and it is; else as text."""
        if self.body and _JSON_TYPE.fullmatch(self._content_type()):
            try:
                return decode_json(self.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # it is not; what it is may still tell the reader something
        return self.text()

    def text(self) -> str:
        """The body as text, with U+FFFD for what is none."""
        charset = _CHARSET.search(self._content_type())
        codec = _CHARSETS.get(charset[1].lower(), "utf-8") if charset else "utf-8"
        return self.body.decode(codec, "replace")

    def _content_type(self) -> str:
        return next((value for name, value in self.headers if name.lower() == "content-type"), "")


# --- input ----------------------------------------------------------------------------------------


def read_request(value: Any, idempotency_key: str) -> HttpRequest:
    """Check the input of `http_request`, in either shape.

    Raises StepFailed: `Http.InvalidInput`; the cause names the field, what is wrong and what is accepted.
    """
    if not isinstance(value, dict):
        raise _invalid("the input must be an object with a url")
    is_aws = "ApiEndpoint" in value
    fields = _AWS_FIELDS if is_aws else _OWN_FIELDS
    _check_names(value, fields)
    given = {ours: value[name] for ours, name in fields.items() if name in value}
    if "url" not in given:
        raise _invalid(f"{fields['url']} is missing")
    headers = _headers(given.get("headers", {}), fields["headers"])
    body = _body(given.get("body"), headers, fields["body"])
    if "idempotency-key" not in _names(headers):
        headers["Idempotency-Key"] = idempotency_key
    return HttpRequest(
        method=_method(given.get("method", "GET"), fields["method"]),
        url=_with_query(read_url(given["url"], fields["url"]), given.get("query", {}), fields["query"]),
        headers=headers,
        body=body,
        timeout_s=_timeout(given.get("timeout_s", TIMEOUT_S)),
        is_aws=is_aws,
    )


def read_url(text: Any, field: str, base: URL | None = None) -> URL:
    """Check a URL, which may be relative to `base`. The address that its host may be is not looked at here.

    Raises StepFailed: `Http.InvalidInput`; the cause names `field`.
    """
    if not isinstance(text, str) or not 0 < len(text) <= URL_MAX or _NOT_IN_URLS.search(text):
        raise _invalid(f"{field} must be text of 1 to {URL_MAX} characters without spaces, controls, backslashes")
    try:
        url = (URL(text) if base is None else base.join(URL(text))).with_fragment(None)
        host, port = url.raw_host, url.port
    except ValueError:
        raise _invalid(f"{field} is no URL") from None
    if url.scheme not in ("http", "https") or not host or not port:
        raise _invalid(f"{field} must be an http: or https: URL with a host")
    if _USERINFO.match(text) or url.user is not None or url.password is not None:
        raise _invalid(f"{field} must hold no user and no password: send an Authorization header")
    if ":" not in host and _NAME.fullmatch(host) is None:
        raise _invalid(f"{field} has a host that is neither a name nor an address")
    return url


def _invalid(problem: str) -> StepFailed:
    return StepFailed(INVALID_INPUT, f"{problem}.", is_retryable=False)


def _check_names(value: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    for name in value:
        if name == "Authentication":
            raise _invalid("Authentication names a connection of AWS: send an Authorization header instead")
        if name not in fields.values():
            raise _invalid(f"{name} is no field of http_request; there are {', '.join(fields.values())}")


def _method(value: Any, field: str) -> str:
    if not isinstance(value, str) or value.upper() not in METHODS:
        raise _invalid(f"{field} must be one of {', '.join(METHODS)}")
    return value.upper()


def _timeout(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= TIMEOUT_S_MAX:
        raise _invalid(f"timeout_s must be a number of seconds above 0, at most {TIMEOUT_S_MAX:.0f}")
    return float(value)


def _headers(value: Any, field: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _invalid(f"{field} must be an object")
    for name, text in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise _invalid(f"{field} holds {name!r}, which is no name of a header")
        if name.lower() in _HEADERS_OF_OURS or name.lower().startswith("proxy-"):
            raise _invalid(f"{field} must not hold {name}: it belongs to the connection")
        if not isinstance(text, str) or _CONTROL.search(text):
            raise _invalid(f"{field}.{name} must be text without line breaks and other control characters")
    if len(_names(value)) < len(value):
        raise _invalid(f"{field} holds the same header twice")
    return dict(value)


def _names(headers: Mapping[str, str]) -> set[str]:
    return {name.lower() for name in headers}


def _with_query(url: URL, value: Any, field: str) -> URL:
    """Add the members of `value` to the URL's own query."""
    if not isinstance(value, dict):
        raise _invalid(f"{field} must be an object")
    pairs: list[tuple[str, str]] = []
    for name, member in value.items():
        for item in member if isinstance(member, list) else [member]:
            if not isinstance(item, str | int | float):
                raise _invalid(f"{field}.{name} must be text, a number, true, false, or an array of these")
            pairs.append((name, item if isinstance(item, str) else encode_json(item).decode()))
    return url.extend_query(pairs) if pairs else url


def _body(value: Any, headers: dict[str, str], field: str) -> bytes | None:
    """The body's bytes: text as it is if a content type is given, else JSON, and then `headers` say so."""
    if value is None:
        return None
    content_type = next((text for name, text in headers.items() if name.lower() == "content-type"), None)
    if content_type is None:
        headers["Content-Type"] = "application/json"
    elif isinstance(value, str):
        return value.encode()
    elif not _JSON_TYPE.fullmatch(content_type):
        raise _invalid(f"{field} must be text, since the Content-Type is not JSON")
    return encode_json(value)


# --- redirects ----------------------------------------------------------------------------------------


def redirected(request: HttpRequest, status: int, location: str) -> HttpRequest:
    """The request that follows a redirect (RFC 9110, 15.4).

    Another origin gets none of the headers that may be meant for the first one alone. From https it never
    goes to http.

    Raises StepFailed: `Http.InvalidInput`, naming Location.
    """
    url = read_url(location, "Location", request.url)
    if request.url.scheme == "https" and url.scheme != "https":
        raise _invalid("Location leads from https to http")
    method, body, headers = request.method, request.body, dict(request.headers)
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):  # noqa: PLR2004
        method, body = "GET", None
        headers = _without(headers, (name for name in _names(headers) if name.startswith("content-")))
    if url.origin() != request.url.origin():
        headers = _without(headers, _names(headers) - _HEADERS_FOR_ANYONE)
    return dataclasses.replace(request, method=method, url=url, body=body, headers=headers)


def _without(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    gone = set(names)
    return {name: text for name, text in headers.items() if name.lower() not in gone}


# --- results ----------------------------------------------------------------------------------------


def result_of(response: HttpResponse, *, is_aws: bool) -> dict[str, Any]:
    """The step's result: ours joins a repeated header by commas, AWS's gives an array for each."""
    headers: dict[str, list[str]] = {}
    for name, value in response.headers:
        headers.setdefault(name.lower(), []).append(value)
    if is_aws:
        return {
            "StatusCode": response.status,
            "StatusText": response.reason,
            "Headers": headers,
            "ResponseBody": response.content(),
        }
    joined = {name: ", ".join(values) for name, values in headers.items()}
    return {"status": response.status, "headers": joined, "body": response.content()}
