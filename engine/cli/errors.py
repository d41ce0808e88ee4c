"""How a command ends when it cannot do what was asked.

CliError (exit 1: it failed)
└── UsageError (exit 2: the command line or the configuration is wrong)
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_IN_DOUBT = 3
EXIT_INTERRUPTED = 130


class CliError(Exception):
    """One clear line for standard error, and the exit code."""

    exit_code = EXIT_FAILED


class UsageError(CliError):
    """The command line or the configuration is wrong; nothing was done."""

    exit_code = EXIT_USAGE
