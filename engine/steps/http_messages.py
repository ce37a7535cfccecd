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

from perdure.engine.log.codec import decode_json
from perdure.engine.steps.http_action import BODIES, HTTP_REQUEST, METHODS, TIMEOUT_S, TIMEOUT_S_MAX
from perdure.engine.steps.http_bodies import encode_body, is_json_type
from perdure.engine.steps.http_fields import INVALID_INPUT, authorization, invalid, pairs_of
from perdure.engine.steps.http_plans import Pagination, RateLimit, read_pagination, read_rate_limit
from perdure.engine.steps.registry import StepFailed

__all__ = ["INVALID_INPUT", "HttpRequest", "HttpResponse", "read_request", "read_url", "redirected", "result_of"]

INVALID_RESPONSE: Final = "Http.InvalidResponse"
URL_MAX: Final = 8_192
SECRET_MIN: Final = 6
"""Shorter texts are no secrets, and stand in most answers."""
RESPONSES: Final = ("auto", "json", "text")

_OWN_FIELDS: Final = {name: name for name in HTTP_REQUEST.members}
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
    `response`: what the answer's body is read as, one of RESPONSES.
    `pagination`: how to go on to the next page; None for one answer.
    `rate_limit`: how many requests may be sent to a host; None for any number.
    """

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None = None
    timeout_s: float = TIMEOUT_S
    is_aws: bool = False
    response: str = "auto"
    pagination: Pagination | None = None
    rate_limit: RateLimit | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What stands in headers that may hold secrets: no error may quote it."""
        found = set[str]()
        for name, value in self.headers.items():
            if name.lower() not in _HEADERS_FOR_ANYONE:
                found |= {value, value.partition(" ")[2]}
        return tuple(sorted((text for text in found if len(text) >= SECRET_MIN), key=len, reverse=True))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """A response. `headers` are in order, and may repeat a name; `body` is decompressed."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def content(self, wanted: str = "auto") -> Any:
        """The body as JSON if its content type says so and it is, else as text; or as what is wanted.

        Raises StepFailed: `Http.InvalidResponse`, where JSON is wanted and the body is none.
        """
        if wanted == "json" and not self.body:
            return None
        if wanted == "json" or (wanted == "auto" and self.body and is_json_type(self._content_type())):
            try:
                return decode_json(self.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                if wanted == "json":
                    raise StepFailed(INVALID_RESPONSE, "The response's body is no JSON.") from None
                # else: what it is may still tell the reader something
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
        raise invalid("the input must be an object with a url")
    is_aws = "ApiEndpoint" in value
    fields = _AWS_FIELDS if is_aws else _OWN_FIELDS
    _check_names(value, fields)
    given = {ours: value[name] for ours, name in fields.items() if name in value}
    if "url" not in given:
        raise invalid(f"{fields['url']} is missing")
    headers = _headers(given.get("headers", {}), fields["headers"])
    body = _body(given, headers, fields["body"])
    if "auth" in given:
        if "authorization" in _names(headers):
            raise invalid("auth and an Authorization header cannot stand together")
        headers["Authorization"] = authorization(given["auth"])
    if "idempotency-key" not in _names(headers):
        headers["Idempotency-Key"] = idempotency_key
    method = _method(given.get("method", "GET"), fields["method"])
    pagination = read_pagination(given["pagination"]) if "pagination" in given else None
    if pagination is not None and method != "GET":
        raise invalid("pagination is for the method GET")
    return HttpRequest(
        method=method,
        url=_with_query(read_url(given["url"], fields["url"]), given.get("query", {}), fields["query"]),
        headers=headers,
        body=body,
        timeout_s=_timeout(given.get("timeout_s", TIMEOUT_S)),
        is_aws=is_aws,
        response=_response(given.get("response", "auto")),
        pagination=pagination,
        rate_limit=read_rate_limit(given["rateLimit"]) if "rateLimit" in given else None,
    )


def read_url(text: Any, field: str, base: URL | None = None) -> URL:
    """Check a URL, which may be relative to `base`. The address that its host may be is not looked at here.

    Raises StepFailed: `Http.InvalidInput`; the cause names `field`.
    """
    if not isinstance(text, str) or not 0 < len(text) <= URL_MAX or _NOT_IN_URLS.search(text):
        raise invalid(f"{field} must be text of 1 to {URL_MAX} characters without spaces, controls, backslashes")
    try:
        url = (URL(text) if base is None else base.join(URL(text))).with_fragment(None)
        host, port = url.raw_host, url.port
    except ValueError:
        raise invalid(f"{field} is no URL") from None
    if url.scheme not in ("http", "https") or not host or not port:
        raise invalid(f"{field} must be an http: or https: URL with a host")
    if _USERINFO.match(text) or url.user is not None or url.password is not None:
        raise invalid(f"{field} must hold no user and no password: send an Authorization header")
    if ":" not in host and _NAME.fullmatch(host) is None:
        raise invalid(f"{field} has a host that is neither a name nor an address")
    return url


def _check_names(value: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    for name in value:
        if name == "Authentication":
            raise invalid("Authentication names a connection of AWS: send an Authorization header instead")
        if name not in fields.values():
            raise invalid(f"{name} is no field of http_request; there are {', '.join(fields.values())}")


def _method(value: Any, field: str) -> str:
    if not isinstance(value, str) or value.upper() not in METHODS:
        raise invalid(f"{field} must be one of {', '.join(METHODS)}")
    return value.upper()


def _timeout(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= TIMEOUT_S_MAX:
        raise invalid(f"timeout_s must be a number of seconds above 0, at most {TIMEOUT_S_MAX:.0f}")
    return float(value)


def _headers(value: Any, field: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise invalid(f"{field} must be an object")
    for name, text in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise invalid(f"{field} holds {name!r}, which is no name of a header")
        if name.lower() in _HEADERS_OF_OURS or name.lower().startswith("proxy-"):
            raise invalid(f"{field} must not hold {name}: it belongs to the connection")
        if not isinstance(text, str) or _CONTROL.search(text):
            raise invalid(f"{field}.{name} must be text without line breaks and other control characters")
    if len(_names(value)) < len(value):
        raise invalid(f"{field} holds the same header twice")
    return dict(value)


def _names(headers: Mapping[str, str]) -> set[str]:
    return {name.lower() for name in headers}


def _with_query(url: URL, value: Any, field: str) -> URL:
    """Add the members of `value` to the URL's own query."""
    pairs = pairs_of(value, field)
    return url.extend_query(pairs) if pairs else url


def _body(given: Mapping[str, Any], headers: dict[str, str], field: str) -> bytes | None:
    """The bytes of the body, whichever member holds it; `headers` say then what it is."""
    names = [name for name in BODIES if given.get(name) is not None or (name == "json" and name in given)]
    if len(names) > 1:
        raise invalid(f"{' and '.join(names)} cannot stand together: give one of them")
    return encode_body(names[0], given[names[0]], headers, field) if names else None


def _response(value: Any) -> str:
    if not isinstance(value, str) or value not in RESPONSES:
        raise invalid(f"response must be one of {', '.join(RESPONSES)}")
    return value


# --- redirects ----------------------------------------------------------------------------------------


def redirected(request: HttpRequest, status: int, location: str) -> HttpRequest:
    """The request that follows a redirect (RFC 9110, 15.4).

    Another origin gets none of the headers that may be meant for the first one alone. From https it never
    goes to http.

    Raises StepFailed: `Http.InvalidInput`, naming Location.
    """
    url = read_url(location, "Location", request.url)
    if request.url.scheme == "https" and url.scheme != "https":
        raise invalid("Location leads from https to http")
    method, body, headers = request.method, request.body, dict(request.headers)
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):  # noqa: PLR2004
        method, body = "GET", None
        headers = _without(headers, (name for name in _names(headers) if name.startswith("content-")))
    return dataclasses.replace(request, method=method, url=url, body=body, headers=_headers_at(request, url, headers))


def following(request: HttpRequest, location: str) -> HttpRequest:
    """The request for the page that a link leads to: with the headers that `redirected` would leave.

    Raises StepFailed: `Http.InvalidInput`, naming Link.
    """
    url = read_url(location, "Link", request.url)
    if request.url.scheme == "https" and url.scheme != "https":
        raise invalid("Link leads from https to http")
    return dataclasses.replace(request, url=url, headers=_headers_at(request, url, request.headers))


def _headers_at(request: HttpRequest, url: URL, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Leave out what may be meant for the origin of a request alone, if a URL is of another one."""
    if url.origin() == request.url.origin():
        return headers
    return _without(headers, _names(headers) - _HEADERS_FOR_ANYONE)


def _without(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    gone = set(names)
    return {name: text for name, text in headers.items() if name.lower() not in gone}


# --- results ----------------------------------------------------------------------------------------


def result_of(response: HttpResponse, *, is_aws: bool, wanted: str = "auto") -> dict[str, Any]:
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
    return {"status": response.status, "headers": joined, "body": response.content(wanted)}
