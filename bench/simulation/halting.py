"""SIGSTOP on trio: the tasks of one process do not run, while time and everybody else go on.

Every task knows its process by a context variable that its children inherit. While a process is halted, what
would be scheduled of it is put aside: answers, timers and data that come meanwhile are found when it wakes,
all at once and in their order, as by a process that was stopped and continued.
"""

from __future__ import annotations

import contextvars
import importlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

PROCESS: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("simulated_process", default="")
"""The simulated process a task belongs to; empty: the world around them."""


def called_in(process: str, function: Callable[..., T], *args: Any) -> T:
    """Call `function` so that tasks it starts belong to `process` ("": to none)."""
    context = contextvars.copy_context()
    context.run(PROCESS.set, process)
    return context.run(function, *args)


class Halting:
    """Which processes are halted. One for a run; `release` when it is over."""

    def __init__(self) -> None:
        # No public way exists to keep a task from running.
        self._internals: Any = importlib.import_module("trio._core._run")
        self._reschedule: Any = None
        self._aside: dict[str, list[Any]] = {}

    def halted(self, process: str) -> bool:
        return process in self._aside

    def halt(self, process: str) -> None:
        """Let no task of it run. What is in the scheduler's hands at this moment makes one step more."""
        if process in self._aside:
            return
        aside = self._aside[process] = []
        queue = self._internals.GLOBAL_RUN_CONTEXT.runner.runq
        ready = list(queue)
        queue.clear()
        for task in ready:
            (aside if task.context.get(PROCESS) == process else queue).append(task)
        if self._reschedule is None:
            self._intercept()

    def resume(self, process: str) -> None:
        """Let it run again."""
        aside = self._aside.pop(process, None)
        if aside is None:
            return
        self._internals.GLOBAL_RUN_CONTEXT.runner.runq.extend(aside)
        if not self._aside:
            self.release()

    def release(self) -> None:
        """Leave the scheduler as it was, and let everything run."""
        for process in list(self._aside):
            self.resume(process)
        if self._reschedule is not None:
            self._internals.Runner.reschedule = self._reschedule
            self._reschedule = None

    def _intercept(self) -> None:
        reschedule = self._reschedule = self._internals.Runner.reschedule
        halted = self._aside

        def reschedule_unless_halted(runner: Any, task: Any, *outcome: Any) -> None:
            reschedule(runner, task, *outcome)
            aside = halted.get(task.context.get(PROCESS))
            if aside is not None:
                aside.append(runner.runq.pop())

        self._internals.Runner.reschedule = reschedule_unless_halted
