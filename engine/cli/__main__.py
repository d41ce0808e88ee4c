"""`python -m todoke.engine.cli`: the same as the `todoke` command."""

from __future__ import annotations

from .main import main

if __name__ == "__main__":
    main()
