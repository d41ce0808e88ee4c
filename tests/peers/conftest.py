"""Makes `peers_kit.py` importable by its own name in the tests here: `from todoke_peers_kit import Tap`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAME = "todoke_peers_kit"


def _load() -> None:
    if NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(NAME, Path(__file__).with_name("peers_kit.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = module
        spec.loader.exec_module(module)


_load()
