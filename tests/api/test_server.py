"""The server's socket."""

from __future__ import annotations

from perdure.api.server import _bind
from tests.store.sqlite.conftest import forked_child


def test_a_child_of_a_server_that_died_does_not_keep_its_port() -> None:
    """What a step forked may outlive a server that is killed; the next one listens where it did."""
    first = _bind("127.0.0.1", 0)
    first.listen()
    port = first.getsockname()[1]
    with forked_child():
        first.close()

        second = _bind("127.0.0.1", port)
        second.listen()
        second.close()
