"""Status words of the dialects: what is shown, and what a filter means, both from one table."""

from __future__ import annotations

import pytest

from perdure.api.dialects.status_words import RESOURCE_WORDS, RUNS_WORDS, SERVICE_WORDS, StatusWords
from perdure.engine.errors import Invalid
from perdure.engine.services.run_filters import STATUSES

DIALECTS = [RUNS_WORDS, RESOURCE_WORDS, SERVICE_WORDS]


@pytest.mark.parametrize("words", DIALECTS)
def test_each_status_has_a_word_that_finds_it_again(words: StatusWords) -> None:
    """A run that is shown as something is found by that."""
    for status in STATUSES:
        assert status in words.meant(words.word(status)).split(",")
    assert set(words.words) == set(STATUSES)


@pytest.mark.parametrize("words", DIALECTS)
def test_each_accepted_word_means_something(words: StatusWords) -> None:
    """Also our words, and `suspended`, which means what waits; each status once."""
    for word in words.accepted:
        meant = words.meant(word).split(",")
        assert set(meant) <= set(STATUSES)
    assert words.meant("suspended,waiting") == "waiting"


def test_a_dialects_own_meaning_comes_first() -> None:
    """What two vocabularies have in common means what it means in the dialect."""
    assert RUNS_WORDS.meant("running") == "running,waiting"
    assert RUNS_WORDS.meant("cancelled") == RUNS_WORDS.meant("terminated") == "terminated"
    assert RUNS_WORDS.meant("failed") == "failed"
    assert RESOURCE_WORDS.meant("failed") == "failed,timed_out,terminated"
    assert RESOURCE_WORDS.meant("timed_out") == "timed_out"
    assert SERVICE_WORDS.meant("queued") == SERVICE_WORDS.meant("pending") == "pending"
    assert (SERVICE_WORDS.word("timed_out"), SERVICE_WORDS.detail("timed_out")) == ("failed", "timed_out")
    assert RUNS_WORDS.detail("timed_out") is None


@pytest.mark.parametrize("words", DIALECTS)
def test_an_unknown_word_is_refused(words: StatusWords) -> None:
    """With the field, what is accepted, and what may have been meant."""
    with pytest.raises(Invalid, match=r"status: 'runing' is not accepted; .* Did you mean 'running'"):
        words.meant("completed,runing")
