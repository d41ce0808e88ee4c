"""Which carriers may take a number: the longest prefix that a route names wins, and portability may say in
which order. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from .portability import Portability


class Router:
    """Routes by destination prefix (digits of an international number, no `+`)."""

    def __init__(self, routes: Iterable[tuple[Iterable[str], tuple[str, ...]]]) -> None:
        """`routes`: (prefixes, carriers in order of preference); no prefix at all = every number."""
        self._carriers: dict[str, tuple[str, ...]] = {}
        for prefixes, carriers in routes:
            for prefix in list(prefixes) or [""]:
                self._carriers.setdefault(prefix, carriers)
        self._lengths = sorted({len(prefix) for prefix in self._carriers}, reverse=True)
        self._only = self._carriers[""] if self._lengths == [0] else None

    def choose_ported(self, to: str, portability: Portability, now: float) -> tuple[str, ...]:
        """As `choose`, in the order that portability knows. It adds no carrier and takes none away, whatever
        an application's own hook answers.
        """
        usual = self.choose(to)
        if len(usual) < 2:
            return usual
        told = portability.carriers(to, list(usual), now)
        allowed = [each for each in dict.fromkeys(told) if each in usual]
        return (*allowed, *(each for each in usual if each not in allowed))

    def choose(self, to: str) -> tuple[str, ...]:
        """Carriers for this number in order of preference; empty if no route names it."""
        if self._only is not None:
            return self._only
        carriers = self._carriers
        for length in self._lengths:
            found = carriers.get(to[:length])
            if found is not None:
                return found
        return ()
