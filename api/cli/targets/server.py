"""Commands over HTTP: the API of a server, and its errors as errors of a command."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from perdure.api.cli.names import SUGGESTED_FROM, is_id, only
from perdure.api.cli.options import DatabaseScope
from perdure.api.cli.runner import CommandFailed, CommandRefused, NotThere, headline, problems
from perdure.api.cli.targets.target import ResumeRule
from perdure.engine.suggestions import did_you_mean

TIMEOUT_S: Final = 60.0
PAGE: Final = 100
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024

_BRIEF: Final = ("id", "name", "version", "status")
_SAVED: Final = (*_BRIEF, "warnings")

_NOT_THERE: Final = 404
_NOT_TRIED: Final = frozenset({401, 403})


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to wherever it points."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Remote:
    """A server. Implements `Target`."""

    def __init__(self, server: str, key: str, scope: DatabaseScope) -> None:
        parts = urlsplit(server)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise CommandRefused(f"--server: {server!r} is no address of a server, such as http://127.0.0.1:8080")
        if not (key.isascii() and key.isprintable()):
            raise CommandRefused("--key: it has characters that no key has")
        self._base = server.rstrip("/")
        self._key = key
        self._scope = scope
        self._opener = urllib.request.build_opener(_NoRedirects)

    # --- changes -------------------------------------------------------------------------------------------------

    def create_workflow(
        self, name: str, definition: Any, description: str | None, *, is_draft: bool, resume: ResumeRule
    ) -> dict[str, Any]:
        status, settings = "draft" if is_draft else "published", {"resume": resume}
        body: dict[str, Any] = {"name": name, "definition": definition, "status": status, "settings": settings}
        if description is not None:
            body["description"] = description
        made = self.send("POST", "/v1/workflows", body)["data"]
        return {member: made[member] for member in _SAVED}

    def apply_workflow(
        self, name: str, definition: Any, description: str | None, *, is_draft: bool, resume: ResumeRule | None
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"definition": definition, "status": "draft" if is_draft else "published"}
        if description is not None:
            body["description"] = description
        if resume is not None:
            body["settings"] = {"resume": resume}
        made = self.send("PUT", f"/v1/workflows/by-name/{quote(name, safe='')}", body)["data"]
        return {member: made[member] for member in (*_SAVED, "outcome")}

    def publish_workflow(self, workflow: str) -> dict[str, Any]:
        made = self.send("PATCH", f"/v1/workflows/{self.workflow_id(workflow)}", {"status": "published"})["data"]
        return {member: made[member] for member in _SAVED}

    def archive_workflow(self, workflow: str) -> dict[str, Any]:
        gone = self.send("DELETE", f"/v1/workflows/{self.workflow_id(workflow)}")["data"]
        return {member: gone[member] for member in _BRIEF}

    def trigger(
        self, workflow: str, run_input: dict[str, Any], process_id: str | None, version: int | None
    ) -> dict[str, Any]:
        workflow_id = self.workflow_id(workflow)
        path = f"/v2/workflows/triggerworkflow/{workflow_id}" + ("" if version is None else f"/{version}")
        query = {} if process_id is None else {"process_id": process_id}
        execution_id = self.send("POST", path, run_input, query)["looply_execution_id"]
        name = process_id or run_input.get("process_id") or execution_id
        return {"execution_id": execution_id, "process_id": name, "workflow_id": workflow_id}

    def resume(
        self, process_id: str, payload: Any, *, wait_id: str | None, state: str | None, hold_s: int
    ) -> dict[str, Any]:
        given = {"wait_id": wait_id, "state": state}
        query = {name: value for name, value in given.items() if value is not None}
        prefer = {"Prefer": f"wait={hold_s}"}
        return dict(self.of_run("POST", process_id, "resume", {"payload": payload}, query, prefer)["data"])

    def terminate(self, process_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        return dict(self.of_run("POST", process_id, "terminate", {"payload": payload})["data"])

    def release(self, process_id: str) -> dict[str, Any]:
        return dict(self.send("POST", f"/v1/executions/{quote(process_id, safe='')}/release")["data"])

    def answer_task(self, token: str, what: str, body: Any) -> dict[str, Any]:
        return dict(self.send("POST", f"/v1/tasks/{quote(token, safe='')}/{what}", body)["data"])

    def create_key(self, name: str, scopes: list[str], expires_at: str | None) -> dict[str, Any]:
        body: dict[str, Any] = {"name": name, "scopes": scopes}
        elsewhere = {"organization": self._scope.organization, "workspace": self._scope.workspace}
        body |= {member: value for member, value in (*elsewhere.items(), ("expires_at", expires_at)) if value}
        made = self.send("POST", "/v1/keys", body)["data"]
        return {member: made[member] for member in ("id", "name", "scopes", "expires_at", "key")}

    def revoke_key(self, key: str) -> dict[str, Any]:
        rows = list(self._keys())
        found = next((row for row in rows if row["id"] == key.lower()), None) or only("key", key, rows)
        if found is None:
            raise CommandFailed(f"there is no key {key!r}.{did_you_mean(key, [row['name'] for row in rows])}")
        revoked = self.send("DELETE", f"/v1/keys/{found['id']}")["data"]
        return {member: revoked[member] for member in ("id", "name", "revoked_at")}

    def workflow(self, wanted: str) -> dict[str, Any]:
        """A workflow with its latest version, by name or id."""
        return dict(self.send("GET", f"/v1/workflows/{self.workflow_id(wanted)}")["data"])

    # --- names ---------------------------------------------------------------------------------------------------

    def workflow_id(self, wanted: str) -> str:
        """The id of the workflow of that name or id. Raises `Failed`, with names that are similar."""
        if is_id(wanted):
            return wanted
        found = only("workflow", wanted, list(self._workflows({"search": wanted})))
        if found is None:
            known = [each["name"] for each in self._workflows({})]
            raise CommandFailed(f"there is no workflow {wanted!r}.{did_you_mean(wanted, known)}")
        return str(found["id"])

    def _keys(self) -> Iterator[dict[str, Any]]:
        query: dict[str, Any] = {"limit": PAGE}
        while query.get("after", "") is not None:
            page = self.send("GET", "/v1/keys", query=query)
            yield from page["data"]
            query["after"] = page["meta"]["after"]

    def _workflows(self, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for page in range(1, SUGGESTED_FROM // PAGE + 1):
            rows = self.send("GET", "/v1/workflows", query={**query, "page": page, "limit": PAGE})["data"]
            yield from rows
            if len(rows) < PAGE:
                return

    def of_run(self, method: str, run_id: str, what: str, *args: Any) -> Any:
        """The JSON of a call about a run, by process id or execution id; `what` is the end of its path.

        Raises `Failed` if there is none, with process ids that are similar among the newest that the key may see.
        """
        try:
            return self.send(method, f"/v1/executions/{quote(run_id, safe='')}/{what}", *args)
        except NotThere as error:
            raise CommandFailed(f"{error.message}.{did_you_mean(run_id, self._process_ids())}") from None

    def _process_ids(self) -> list[str]:
        try:
            page = self.send("GET", "/v2/workflows/getOrganizationExecutions", query={"limit": 30})
        except CommandFailed:  # the key may not see them, and so is told none
            return []
        return [item["process_id"] for item in page["items"] if item["process_id"] != item["workflow_execution_id"]]

    # --- HTTP ----------------------------------------------------------------------------------------------------

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of a 2xx. Raises `Failed` or `Refused` with what the server says."""
        url = f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        sent = {"x-api-key": self._key, "accept": "application/json", **(headers or {})}
        if data is not None:
            sent["content-type"] = "application/json"
        request = urllib.request.Request(url, data, sent, method=method)  # noqa: S310 http or https: see __init__
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                return json.loads(response.read(ANSWER_BYTES_MAX))
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.read(ANSWER_BYTES_MAX)) from None
        except urllib.error.URLError as error:
            raise CommandRefused(f"{self._base} cannot be reached: {error.reason}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            message = f"{self._base} did not answer ({error!r}); whether it was done is not known: ask again"
            raise CommandFailed(message) from None


def _refusal(status: int, raw: bytes) -> CommandFailed:
    """What a server's error says, in either envelope (`api.http.problems`)."""
    try:
        body = json.loads(raw)
        error = body["error"]
        message, details = body.get("message") or error["message"], error.get("details")
    except (KeyError, TypeError, ValueError, AttributeError):
        return CommandFailed(f"the server answered {status}, and not as Perdure does: is it one?")
    kind = CommandRefused if status in _NOT_TRIED else NotThere if status == _NOT_THERE else CommandFailed
    return kind(headline(str(message), details), problems(details))
