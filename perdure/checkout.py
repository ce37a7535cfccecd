"""The folders' own names, for scripts that import `engine` or `store` from a checkout.

Installed, there is `perdure` alone. In a checkout Python finds the folders as well, and would load each module a second
time under its folder's name, with classes of its own; so there the folders' names mean the modules of `perdure`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Final

FOLDERS: Final = ("engine", "api", "store")
MOVED: Final = {
    "engine.runtime.access": "engine.services.access",
    "engine.runtime.tasks": "engine.runtime.workers.tasks",
}
"""What older scripts look for where it was before."""


class Finder(MetaPathFinder):
    """Finds `engine.X`, `api.X` and `store.X` as `perdure.engine.X` and so on."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for a name that starts with a folder's, and None for any other."""
        del path, target
        if fullname.partition(".")[0] not in FOLDERS:
            return None
        module = importlib.import_module(f"perdure.{MOVED.get(fullname, fullname)}")
        return spec_from_loader(fullname, Alias(module))


class Alias(Loader):
    """Gives a module that is loaded already."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that the spec's name means."""
        del spec
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Execute nothing; give the module back what it says of itself, which the import has written over."""
        module.__spec__ = self.spec


def alias(folder: str) -> None:
    """Let a folder's name mean the package of `perdure`, in the whole process."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
    sys.modules[folder] = importlib.import_module(f"perdure.{folder}")
