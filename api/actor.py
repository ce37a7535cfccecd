"""Who acts at a terminal, as the log has it."""

from __future__ import annotations

import getpass
import os


def terminal_actor() -> str:
    """The user whose process this is, as an actor: `cli:NAME`."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in many containers
        return f"cli:{os.getuid()}"
