"""Makes `kit.py` and `pair.py` importable by names of their own in every test below: `from todoke_tests_kit
import House`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

SHARED = {"todoke_tests_kit": "kit.py", "todoke_tests_pair": "pair.py"}


def _load(name: str, file: str) -> None:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(file))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


for _name, _file in SHARED.items():
    _load(_name, _file)
