"""Makes what several test folders share importable by name: `todoke_tests_pdus` and others."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

SHARED = {
    "todoke_tests_pdus": "codecs/pdus.py",
    "todoke_tests_capture": "peers/capture.py",
    "todoke_tests_tshark_fields": "peers/tshark_fields.py",
}


def _load(name: str, path: str) -> None:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


sys.path.append(str(Path(__file__).parent / "fuzz"))  # todoke_fuzz: the targets of the fuzzer
for _name, _path in SHARED.items():
    _load(_name, _path)
