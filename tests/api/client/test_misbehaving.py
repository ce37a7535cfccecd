"""Both clients against servers that misbehave, over real sockets: what is lost is repeated, nothing is done twice."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from perdure.api.client import Client, NoAnswer, NotFound, Retries, StrangeAnswer, Unavailable, Unreachable
from perdure.api.client.addresses import parse, proxy_of
from tests.api.client.conftest import Connect
from tests.cli.conftest import APPROVAL, KEY

LIVE = b'{"success":true,"data":{"status":"live"}}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(LIVE), LIVE)
BUSY = b'{"success":false,"error":{"code":"UNAVAILABLE","message":"drains"}}'
UNAVAILABLE = b"HTTP/1.1 503 Busy\r\nretry-after: 3\r\ncontent-length: %d\r\n\r\n%s" % (len(BUSY), BUSY)

Way = Callable[[socket.socket, bytes], None]
"""What a server does with a request; afterwards it goes on with the connection, if it is still open."""


def says(answer: bytes) -> Way:
    return lambda connection, _: connection.sendall(answer)


def drops(connection: socket.socket, _: bytes) -> None:
    connection.close()


def half(connection: socket.socket, _: bytes) -> None:
    connection.sendall(OK[:-9])
    connection.close()


def hangs(connection: socket.socket, _: bytes) -> None:
    connection.settimeout(10)
    with contextlib.suppress(OSError):
        connection.recv(1)
    connection.close()


def drips(connection: socket.socket, _: bytes) -> None:
    with contextlib.suppress(OSError):
        for number in range(1000):
            connection.sendall(OK[number % 9 : number % 9 + 1] if number else b"HTTP/1.1 200 OK\r\nx: ")
            time.sleep(0.02)
    connection.close()


class Misbehaving:
    """A server that does one of these things after the other, and the last one for ever."""

    def __init__(self, *ways: Way) -> None:
        self._ways = list(ways)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while connection.fileno() >= 0 and (request := whole(connection)):
                self.requests.append(request)
                (self._ways.pop(0) if len(self._ways) > 1 else self._ways[0])(connection, request)


def whole(connection: socket.socket) -> bytes:
    """A request with its body; nothing once the connection has ended."""
    request = b""
    while b"\r\n\r\n" not in request:
        piece = connection.recv(65536)
        if not piece:
            return b""
        request += piece
    head, _, body = request.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.partition(b":")[2]):
                body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


class Slept:
    """Sleeps that take no time."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.mark.parametrize("way", [drops, half, says(UNAVAILABLE), says(b"HTTP/1.1 502 x\r\ncontent-length: 1\r\n\r\n?")])
def test_what_reads_is_repeated(connect: Connect, way: Way) -> None:
    """Dropped after it was sent, half an answer, 503, a gateway's 502: the next try has its answer."""
    slept = Slept()
    with Misbehaving(way, says(OK)) as server:
        assert connect(server.url, sleep=slept).live().status == "live"
        assert len(server.requests) == 2
    assert len(slept.seconds) == 1


def test_a_retry_after_is_waited_for(connect: Connect) -> None:
    """At least as long as the server asks for."""
    slept = Slept()
    with Misbehaving(says(UNAVAILABLE), says(OK)) as server:
        connect(server.url, sleep=slept).live()
    assert 3 <= slept.seconds[0] <= 3.1


def test_what_may_make_two_is_not_repeated(connect: Connect) -> None:
    """A workflow or a key that may have been made is not made again; the caller is told that it is not known."""
    with Misbehaving(drops) as server:
        client = connect(server.url)
        with pytest.raises(NoAnswer) as lost:
            client.create_workflow("w", APPROVAL)
        assert lost.value.request_id
        assert len(server.requests) == 1
    with Misbehaving(says(UNAVAILABLE)) as server:
        with pytest.raises(Unavailable, match="drains"):
            connect(server.url).create_key("k", ["runs.view"])
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "garbage", [b"\x00\x01garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"SSH-2.0-x\r\n", b"\r\n" * 99]
)
def test_garbage_is_no_answer(connect: Connect, garbage: bytes) -> None:
    """What is no HTTP is told so, after all tries."""

    def answers(connection: socket.socket, _: bytes) -> None:
        connection.sendall(garbage)
        connection.close()

    with Misbehaving(answers) as server:
        with pytest.raises(NoAnswer, match="did not answer") as garbled:
            connect(server.url, sleep=Slept(), retries=Retries(attempts_max=3)).waits(process_id="mine")
        assert len(server.requests) == 3
    for secret in (KEY, "mine"):  # which messages of libraries have
        assert secret not in f"{garbled.value!r} {garbled.value}"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", "not as expected"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", "not as expected"),
        (b"HTTP/1.1 404 No\r\ncontent-length: 6\r\n\r\n<html>", "is it one"),
        (b'HTTP/1.1 404 No\r\ncontent-length: 16\r\n\r\n{"error":"none"}', "is it one"),
        (b"HTTP/1.1 302 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "is it one"),
    ],
)
def test_another_program_is_recognized(connect: Connect, answer: bytes, message: str) -> None:
    """An answer of somebody else's is no refusal, and no redirect is followed: it would carry the key away."""
    with Misbehaving(says(answer)) as server:
        with pytest.raises(StrangeAnswer, match=message):
            connect(server.url).live()
        assert len(server.requests) == 1


@pytest.mark.parametrize("way", [hangs, drips])
def test_a_slow_server_is_left_in_time(connect: Connect, way: Way) -> None:
    """The time-out is for all of an answer, also if a byte comes now and then."""
    with Misbehaving(way) as server:
        client = connect(server.url, timeout_s=0.3, retries=Retries(attempts_max=2), sleep=Slept())
        began = time.monotonic()
        with pytest.raises(NoAnswer):
            client.live()
        assert time.monotonic() - began < 5
        while len(server.requests) < 2 and time.monotonic() - began < 10:  # a busy machine: its thread is late
            time.sleep(0.01)
        assert len(server.requests) == 2


def test_nobody_is_there(connect: Connect) -> None:
    """No connection, so nothing was done, and even what must not be done twice is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    slept = Slept()
    with pytest.raises(Unreachable, match="cannot be reached") as nobody:
        connect(f"http://127.0.0.1:{port}", sleep=slept).create_workflow("w", APPROVAL)
    assert nobody.value.retryable
    assert len(slept.seconds) == 4


def test_a_server_without_tls_is_not_reached_with_it(connect: Connect) -> None:
    """It is no answer to anything that was sent: nothing was."""

    def gone(connection: socket.socket, _: bytes) -> None:
        connection.close()

    with Misbehaving(gone) as server, pytest.raises((Unreachable, NoAnswer)):
        connect(server.url.replace("http", "https"), timeout_s=0.3, retries=Retries(attempts_max=1)).live()


def test_connections_are_used_again(connect: Connect) -> None:
    """One after the other, calls need one connection; one that its server has ended meanwhile is not used."""

    def last(connection: socket.socket, _: bytes) -> None:
        connection.sendall(OK)
        connection.close()

    with Misbehaving(says(OK), says(OK), last, says(OK)) as server:
        client = connect(server.url, retries=Retries(attempts_max=1))
        for _ in range(3):
            client.live()
        assert server.connections == 1
        time.sleep(0.05)  # the end is on its way
        client.live()
        assert server.connections == 2


def test_a_path_and_a_proxy(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may stand behind a path; a proxy that the environment names is asked for the whole address."""
    with Misbehaving(says(OK)) as server:
        connect(f"{server.url}/perdure/").live()
        assert server.requests[-1].startswith(b"GET /perdure/health/live HTTP/1.1\r\n")
        monkeypatch.setenv("http_proxy", server.url.replace("//", "//u:p@"))
        monkeypatch.setenv("no_proxy", "")
        connect("http://perdure.example:81/x").live()
        assert server.requests[-1].startswith(b"GET http://perdure.example:81/x/health/live HTTP/1.1\r\n")
        assert b"\r\nProxy-Authorization: Basic dTpw\r\n" in server.requests[-1]
        assert "dTpw" not in repr(proxy_of(parse("http://perdure.example")))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        connect(server.url).live()
        assert server.requests[-1].startswith(b"GET /health/live HTTP/1.1\r\n")


# --- in front of a real server -----------------------------------------------------------------------------------


@contextlib.contextmanager
def losing(url: str, *, answers: int, full: int = 0) -> Iterator[Misbehaving]:
    """A server in front of another one: it passes requests on, and loses so many answers, or holds no call at first."""
    left, refused = [answers], [full]
    where = urlsplit(url)

    def pass_on(connection: socket.socket, request: bytes) -> None:
        if b"wait=" in request and refused[0] > 0:
            refused[0] -= 1
            connection.sendall(UNAVAILABLE)
            return
        with socket.create_connection((where.hostname, where.port)) as behind:
            behind.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            answer = b""
            while piece := behind.recv(65536):
                answer += piece
        if left[0] > 0:
            left[0] -= 1
        else:
            connection.sendall(answer)
        connection.close()

    with Misbehaving(pass_on) as server:
        yield server


def test_a_trigger_whose_answer_is_lost_starts_one_run(connect: Connect, served: str) -> None:
    """The client repeats it with its key, and is told of the run that the first one started."""
    direct = connect(served)
    workflow = direct.apply_workflow("one", APPROVAL).id
    for kwargs in ({}, {"process_id": "ONE"}):
        before = {each.workflow_execution_id for each in direct.iter_history(workflow)}
        with losing(served, answers=2) as server:
            run = connect(server.url, sleep=Slept()).trigger(workflow, {"amount": 500}, **kwargs)
            assert len(server.requests) == 3
        after = {each.workflow_execution_id for each in direct.iter_history(workflow)}
        assert after - before == {run.execution_id}


def test_a_resume_and_a_termination_whose_answers_are_lost_win(connect: Connect, served: str) -> None:
    """They are told the first answer again, and not that somebody else was quicker."""
    direct = connect(served)
    with losing(served, answers=1) as server:
        client = connect(server.url, sleep=Slept())
        assert client.resume("INV-7", {"ok": True}, state="Ask").message == "restarted"
    direct.trigger(direct.apply_workflow("one", APPROVAL).id, {"amount": 500}, process_id="END")
    with losing(served, answers=1) as server:
        client = connect(server.url, sleep=Slept())
        assert client.terminate("END").message == "terminated"
        with pytest.raises(NotFound):
            client.terminate("nobody")


def test_a_resume_that_names_no_wait_is_not_repeated(connect: Connect, served: str) -> None:
    """Its repetition might answer the next question; the caller decides, with a key if it has one."""
    with losing(served, answers=1) as server:
        with pytest.raises(NoAnswer):
            connect(server.url, sleep=Slept()).resume("INV-7", 1)
        assert len(server.requests) == 1
    with Client(served, KEY) as direct:
        assert direct.resume("INV-7", 1).message == "already restarted"


def test_changes_whose_answers_are_lost_come_to_the_same(connect: Connect, served: str) -> None:
    """A definition that is applied or changed again makes one version; a key is revoked once."""
    direct = connect(served)
    key = direct.create_key("k", ["runs.view"])
    with losing(served, answers=1) as server:
        workflow = connect(server.url, sleep=Slept()).apply_workflow("same", APPROVAL)
        assert (workflow.version, workflow.outcome) == (1, "unchanged")
    with losing(served, answers=1) as server:
        changed = {**APPROVAL, "Comment": "x"}
        assert connect(server.url, sleep=Slept()).change_workflow(workflow.id, definition=changed).version == 2
    with losing(served, answers=1) as server:
        assert connect(server.url, sleep=Slept()).revoke_key(key.id).revoked_at
    with losing(served, answers=1) as server:
        assert connect(server.url, sleep=Slept()).archive_workflow(workflow.id).status == "archived"


def test_following_goes_on_when_the_server_has_room_again(connect: Connect, served: str) -> None:
    """The call that would be held is one too many at first; it is made again when the server says, and not sooner."""
    slept = Slept()
    with losing(served, answers=0, full=9) as server:
        following = connect(server.url, sleep=slept).iter_execution_events("INV-7", follow=True)
        seqs = [next(following).seq]
        with Client(served, KEY) as direct:
            there = len(list(direct.iter_execution_events("INV-7")))
            seqs += [next(following).seq for _ in range(there - 1)]
            later = threading.Timer(0.1, direct.resume, ("INV-7", {"ok": True}), {"state": "Ask"})
            later.start()
            seqs += [each.seq for each in following]
            later.join()
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) > there
    assert len(slept.seconds) == 9
    assert min(slept.seconds) >= 3


def test_following_goes_on_after_a_lost_answer(connect: Connect, served: str) -> None:
    """No event is missed, and none comes twice."""
    with losing(served, answers=1) as server:
        told = list(connect(server.url, sleep=Slept()).iter_execution_events("INV-6", follow=True))
    assert [each.seq for each in told] == list(range(1, len(told) + 1))
