"""An organization's stream: its workspaces, and keys of which the log never has the text."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from perdure.engine.core import organization as o
from perdure.engine.core.decision import Decision, Rejection
from perdure.engine.core.events import CommandRefused, Recorded
from perdure.engine.core.pinned import LogPinned
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from tests.chained import chained

from .checked import ORGANIZATION, STREAM, salts

CREATE = o.CreateOrganization("Acme", b"a secret")
KEY = o.CreateKey("key-1", "w1", "for SAP", "5" * 64, ("runs.view", "runs.resume"), 9000)


def encoded(state):
    return msgspec.json.encode(state, enc_hook=lambda value: dict(value.items()))


class Stream:
    """An organization driven by hand; every decision is folded again from what the log keeps of it."""

    def __init__(self, *commands):
        self.state = o.OrganizationState()
        self.events: list[Recorded] = []
        for command in commands:
            self.send(command)

    def send(self, command, actor="key:a"):
        before = encoded(self.state)
        payloads = {r.seq: r.payload for r in self.events}
        self.last = o.decide(self.state, command, now=1000, actor=actor, payloads=payloads)
        assert encoded(self.state) == before
        self.answer = self.last.answer if isinstance(self.last, Decision) else None
        if isinstance(self.last, Decision):
            self.new = [step.recorded.event for step in self.last.steps]
            self.events += [step.recorded for step in self.last.steps]
            self.state = self.last.steps[-1].state if self.new else self.state
        folded = o.OrganizationState()
        for row in chained(ORGANIZATION, STREAM, self.events, salts):
            folded = o.evolve(folded, STREAM_TYPES["organization"].vocabulary.read(row))
        assert folded == self.state
        return self

    def is_refused(self, code):
        assert isinstance(self.last, Rejection)
        assert (self.last.code, self.last.steps) == (code, ())


def test_an_organization_is_created_once_and_first():
    """Its name is business data, and of its secret the event has the digest alone."""
    stream = Stream(CREATE)
    assert stream.new == [o.OrganizationCreated("organization", hashlib.sha256(CREATE.secret).hexdigest())]
    assert stream.events[0].payload == {"name": "Acme"}
    stream.send(CREATE).is_refused("CONFLICT")
    Stream(o.CreateWorkspace("w1", "default")).is_refused("NOT_FOUND")


def test_a_workspace_is_made_once_for_each_name():
    """Asking for a name that is taken gives the workspace that has it."""
    stream = Stream(CREATE, o.CreateWorkspace("w1", "default"))
    assert (stream.new, stream.answer) == ([o.WorkspaceCreated("w1")], "w1")
    stream.send(o.CreateWorkspace("w2", "default"))
    assert (stream.new, stream.answer) == ([], "w1")
    stream.send(o.CreateWorkspace("w3", "other"))
    assert (stream.new, stream.answer) == ([o.WorkspaceCreated("w3")], "w3")
    assert stream.state.workspaces == {"w1": 2, "w3": 3}


def test_a_key_is_kept_as_a_digest_with_its_scopes():
    """What an auditor asks about is open; the key's name is business data."""
    stream = Stream(CREATE, o.CreateWorkspace("w1", "default"), KEY)
    assert stream.new == [o.KeyCreated("key-1", "w1", "5" * 64, ("runs.view", "runs.resume"), 9000)]
    assert stream.events[-1].payload == {"name": "for SAP"}
    key = stream.state.keys["key-1"]
    assert (key.seq, key.created_at, key.created_by, key.revoked_at) == (3, 1000, "key:a", None)


def test_a_key_belongs_to_a_workspace_that_is_there():
    """Another one is refused."""
    Stream(CREATE, KEY).is_refused("NOT_FOUND")


def test_a_key_is_revoked_once():
    """Revoking it again is no error and no event; an unknown one is refused."""
    stream = Stream(CREATE, o.CreateWorkspace("w1", "default"), KEY, o.RevokeKey("key-1"))
    assert stream.new == [o.KeyRevoked("key-1")]
    assert stream.state.keys["key-1"].revoked_at == 1000
    assert stream.send(o.RevokeKey("key-1")).new == []
    stream.send(o.RevokeKey("key-9")).is_refused("NOT_FOUND")


OPERATOR = o.CreateKey("key-0", "w1", "mine", "0" * 64, ("operator", "keys.manage"))


def with_keys(*made):
    """A stream in which each key was made by the one before its name: `("key-2", "key-1")`."""
    stream = Stream(CREATE, o.CreateWorkspace("w1", "default"), OPERATOR)
    for name, maker in made:
        stream.send(o.CreateKey(name, "w1", name, name[-1] * 64, ("keys.manage",)), f"key:{maker}")
    return stream


FAMILY = (("key-1", "key-0"), ("key-2", "key-1"), ("key-3", "key-2"), ("key-4", "key-1"), ("key-5", "key-0"))


def test_the_keys_that_a_key_made_go_with_it():
    """And those that they made; not what others made, and nothing if it is not wished."""
    stream = with_keys(*FAMILY).send(o.RevokeKey("key-2"))
    assert stream.new == [o.KeyRevoked("key-2")]
    stream.send(o.RevokeKey("key-1", with_children=True))
    assert stream.new == [o.KeyRevoked("key-1"), o.KeyRevoked("key-4"), o.KeyRevoked("key-3")]
    assert stream.answer is False
    assert stream.state.keys["key-5"].revoked_at is None
    assert stream.send(o.RevokeKey("key-1", with_children=True)).new == []


def test_many_keys_are_revoked_by_and_by(monkeypatch):
    """A decision revokes so many at the most, and says whether there are more."""
    monkeypatch.setattr(o, "REVOKED_AT_ONCE", 3)
    stream = with_keys(*FAMILY)
    command = o.RevokeKey("key-0", with_children=True, has_other_operators=True)
    assert (len(stream.send(command).new), stream.answer) == (3, True)
    assert stream.new[0] == o.KeyRevoked("key-0")
    assert (len(stream.send(command).new), stream.answer) == (3, False)
    assert all(key.revoked_at for key in stream.state.keys.values())


def test_the_last_operator_key_stays():
    """Unless another organization has one; a second one that is good lets it go, one that has expired does not."""
    with_keys().send(o.RevokeKey("key-0")).is_refused("CONFLICT")
    with_keys().send(o.RevokeKey("key-0", with_children=True)).is_refused("CONFLICT")
    assert with_keys().send(o.RevokeKey("key-0", has_other_operators=True)).new == [o.KeyRevoked("key-0")]
    second = o.CreateKey("key-9", "w1", "second", "9" * 64, ("operator",))
    expired = msgspec.structs.replace(second, expires_at=1000)
    with_keys().send(expired).send(o.RevokeKey("key-0")).is_refused("CONFLICT")
    assert with_keys().send(expired).send(o.RevokeKey("key-9")).new == [o.KeyRevoked("key-9")]
    stream = with_keys().send(second)
    assert stream.send(o.RevokeKey("key-0")).new == [o.KeyRevoked("key-0")]
    assert stream.send(o.RevokeKey("key-0")).new == []
    stream.send(o.RevokeKey("key-9")).is_refused("CONFLICT")


def test_an_operator_that_takes_all_others_with_it_stays():
    """What counts is who is left afterwards."""
    stream = with_keys()
    stream.send(o.CreateKey("key-8", "w1", "second", "8" * 64, ("operator",)), "key:key-0")
    stream.send(o.RevokeKey("key-0", with_children=True)).is_refused("CONFLICT")


def test_an_event_of_another_kind_of_stream_is_an_error():
    """The fold skips nothing."""
    with pytest.raises(TypeError, match=r"perdure\.engine\.core\.organization has no row for CommandRefused"):
        o.evolve(o.OrganizationState(), Recorded(1, 0, "key:a", None, CommandRefused("c", "CONFLICT", 1), None))


def test_a_pin_changes_nothing_else():
    """It is an event of the stream, and no more."""
    stream = Stream(CREATE)
    before = stream.state
    stream.send(o.PinLog(7, "a" * 64, 3, "b" * 64))
    assert stream.new == [LogPinned(7, "a" * 64, 3, "b" * 64)]
    assert (stream.state.workspaces, stream.state.keys) == (before.workspaces, before.keys)


TEST_KEY = msgspec.structs.replace(KEY, key="key-2", sandbox="s1", user_id="ann", role_ids=("finance",))


def test_a_sandbox_is_made_with_the_first_test_key():
    """One for each workspace, under a name that is free; the key is of it, and the person stands in the payload."""
    stream = Stream(CREATE, o.CreateWorkspace("w1", "default"), o.CreateWorkspace("w2", "default (sandbox)"), TEST_KEY)
    assert stream.new == [
        o.SandboxCreated("s1", "w1"),
        o.KeyCreated("key-2", "s1", "5" * 64, ("runs.view", "runs.resume"), 9000),
    ]
    assert stream.events[-2].payload == {"name": "default (sandbox) 2"}
    assert stream.events[-1].payload == {"name": "for SAP", "user_id": "ann", "role_ids": ["finance"]}
    stream.send(msgspec.structs.replace(TEST_KEY, key="key-3", sandbox="s2"))
    assert [type(event).__name__ for event in stream.new] == ["KeyCreated"]
    assert stream.state.sandboxes == {"s1": "w1"}
    assert stream.state.keys["key-3"].created.workspace == "s1"


def test_a_sandbox_has_no_live_key_and_no_sandbox_of_its_own():
    """A key that is made in it is a test key, or is refused."""
    stream = Stream(CREATE, o.CreateWorkspace("w1", "default"), TEST_KEY)
    stream.send(msgspec.structs.replace(KEY, key="key-3", workspace="s1")).is_refused("CONFLICT")
    stream.send(msgspec.structs.replace(KEY, key="key-3", workspace="s1", sandbox="s2"))
    assert stream.new == [o.KeyCreated("key-3", "s1", "5" * 64, ("runs.view", "runs.resume"), 9000)]
