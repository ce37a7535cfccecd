"""The shape of a database is known without making one. `python -m tests.store.sqlite.test_schema_check` records it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from perdure.store.sqlite import schema_check
from perdure.store.sqlite.schema_check import RECORD, expected, recorded, shape_flaws
from perdure.store.sqlite.store import open_sqlite


def test_what_is_recorded_is_what_the_migrations_make() -> None:
    """After a new migration record it anew, as this module says."""
    assert recorded() == expected()


async def test_a_sound_file_is_known_without_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would take most of the time of `perdure doctor`; to say what is wrong they are run."""
    store = await open_sqlite(tmp_path / "a.db")
    monkeypatch.setattr(schema_check, "expected", lambda: pytest.fail("the migrations were run"))
    assert await store.shape_flaws() == []
    monkeypatch.undo()
    strange = {**recorded(), ("view", "mine"): "CREATE VIEW mine AS SELECT 1"}
    del strange["table", "waits"]
    assert shape_flaws(strange) == ["view mine is none of Perdure's", "table waits is missing"]
    await store.close()


if __name__ == "__main__":
    shapes = [[kind, name, statement] for (kind, name), statement in sorted(expected().items())]
    RECORD.write_bytes(msgspec.json.format(msgspec.json.encode(shapes), indent=1) + b"\n")
