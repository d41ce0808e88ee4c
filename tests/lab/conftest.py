"""The fixtures of the fault lab."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from todoke_tests_lab import Lab, binary_of


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(number, ...): the faults of the matrix that a test covers")


@pytest.fixture
def kind() -> str:
    """The store of a test that does not ask for one."""
    return "redis"


@pytest.fixture
def lab(kind: str) -> Generator[Lab, None, None]:
    """A store and room for processes."""
    binary = binary_of(kind)
    if binary is None:
        pytest.skip(f"the program of {kind} is not installed")
    with tempfile.TemporaryDirectory(prefix="l-") as directory:
        lab = Lab(Path(directory), binary)
        try:
            yield lab
        finally:
            lab.close()
