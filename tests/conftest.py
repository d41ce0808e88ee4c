"""Makes what several test folders share importable by name: `todoke_tests_pdus` and others."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from todoke_tests_site import Site

SHARED = {
    "todoke_tests_pdus": "codecs/pdus.py",
    "todoke_tests_capture": "peers/capture.py",
    "todoke_tests_tshark_fields": "peers/tshark_fields.py",
    "todoke_tests_site": "lab/site.py",
    "todoke_tests_proxy": "lab/proxy.py",
    "todoke_tests_lab": "lab/lab.py",
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


@pytest.fixture
def site() -> Generator[Site, None, None]:
    """A directory for whole processes; they end with the test."""
    from todoke_tests_site import Site

    with tempfile.TemporaryDirectory(prefix="t-") as directory:
        site = Site(Path(directory))
        try:
            yield site
        finally:
            site.end()


@pytest.fixture
def cleanup() -> Generator[ExitStack, None, None]:
    """What else is to be undone at the end of the test."""
    with ExitStack() as stack:
        yield stack
