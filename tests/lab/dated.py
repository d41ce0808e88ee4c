"""The `todoke` command on a machine whose date is wrong: `dated.py FILE serve todoke.toml`, where FILE holds
by how many seconds. It may be replaced at any time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path


def set_date(file: Path, true: Callable[[], float]) -> None:
    """From now on `time.time` is off by what the file says."""

    def dated() -> float:
        return true() + float(file.read_text())

    time.time = dated


if __name__ == "__main__":
    set_date(Path(sys.argv.pop(1)).absolute(), time.time)
    from todoke.engine.cli.main import main

    main()
