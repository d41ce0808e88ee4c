"""What the engine itself may die of; each module's own errors live beside it.

EngineError
└── Fenced    another engine process has taken this carrier account over: stop, and send nothing more
"""

from __future__ import annotations


class EngineError(Exception):
    """Any of the errors drawn above."""


class Fenced(EngineError):
    """Another engine process has taken this carrier account over."""
