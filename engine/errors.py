"""What the engine itself may run into; each module's own errors live beside it.

EngineError
└── Fenced    another engine process has taken a slot of this account: what was to be decided is not, and
              nothing more may be sent for it
"""

from __future__ import annotations


class EngineError(Exception):
    """Any of the errors drawn above."""


class Fenced(EngineError):
    """Another engine process has taken a slot of this carrier account."""
