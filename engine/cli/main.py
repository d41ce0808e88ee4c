"""The `todoke` command: its sub-commands by name, and what becomes of their errors.

A sub-command's module is imported only when that sub-command runs or its help is asked, so that
`todoke --help` and `todoke preview` stay quick. A command returns its exit code; errors become one line on
standard error.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple, NoReturn

from cyclopts import App, CycloptsError, Group

from .errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, CliError, UsageError

EPILOGUE = """\
Commands that speak to a node find its socket by `--socket`, else `$TODOKE_SOCKET`, else the `[intake] socket`
of `--config FILE`, else `run/todoke.sock`. Relative paths are relative to the current directory.

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 3 (`serve`) parts left in doubt.

First steps: `todoke demo`, `todoke check FILE`, `todoke serve FILE`. Examples: `todoke COMMAND --help`.
"""

NODE = Group("A node", sort_key=1)
MESSAGES = Group("Messages", sort_key=2)
PROOF = Group("Test and proof", sort_key=3)


class Command(NamedTuple):
    """A sub-command: its line in the help, its place there, examples. Module and function bear its name."""

    summary: str
    group: Group
    examples: tuple[str, ...]


COMMANDS = {
    "demo": Command(
        "Show everything at work on this machine, with simulated carriers.",
        NODE,
        ("todoke demo", "todoke demo --json > demo.json"),
    ),
    "serve": Command("Run a node until SIGTERM or Ctrl-C.", NODE, ("todoke serve todoke.toml",)),
    "check": Command(
        "Check a configuration and print what would run.",
        NODE,
        ("todoke check todoke.toml", "todoke check todoke.toml --json"),
    ),
    "status": Command(
        "Binds, queues, doubts and the last error of a running node.",
        NODE,
        ("todoke status", "todoke status --socket run/todoke.sock --json"),
    ),
    "carrier": Command(
        "Pause and resume carriers, lower and raise their rates, see how they are.",
        NODE,
        ("todoke carrier list", "todoke carrier pause docomo", "todoke carrier rate docomo 200"),
    ),
    "held": Command(
        "Messages held in doubt: list, send now, or drop.",
        NODE,
        ("todoke held list", "todoke held release --carrier docomo", "todoke held drop MESSAGE_ID"),
    ),
    "trace": Command(
        "Show a carrier's PDUs as they pass.",
        NODE,
        (
            "todoke trace docomo",
            "todoke trace docomo --command submit_sm_resp --limit 20 --full",
            "todoke trace docomo --show-text --pcap docomo.pcap",
        ),
    ),
    "send": Command(
        "Send one message, or a CSV list of them.",
        MESSAGES,
        (
            "todoke send --to +819012345678 --text 'Your parcel is here.' --wait",
            "todoke send --csv list.csv --text '{name}様 {amount}円のお支払いを承りました。'",
            "todoke send --csv list.csv --dry-run --json",
        ),
    ),
    "events": Command(
        "Print reports and received messages as they come.",
        MESSAGES,
        ("todoke events --follow", "todoke events --json > reports.jsonl"),
    ),
    "query": Command("Ask what became of a message.", MESSAGES, ("todoke query MESSAGE_ID --json",)),
    "cancel": Command("Take back a message that was not sent yet.", MESSAGES, ("todoke cancel MESSAGE_ID",)),
    "preview": Command(
        "Show how a text is encoded and cut into parts.",
        MESSAGES,
        (
            "todoke preview --text 'Hello'",
            "todoke preview --text 'ご注文の品を発送しました。' --carrier softbank",
            "todoke preview --file texts.txt --json",
            "todoke preview --file letter.txt --whole",
        ),
    ),
    "pdu": Command(
        "Show PDUs field by field: hexadecimal, dumps, captures.",
        PROOF,
        (
            "todoke pdu 00000010 00000015 00000000 00000001",
            "todoke pdu trace.pcapng --port 2775 --command submit_sm --limit 10",
            "todoke pdu - --show-text < dump.txt",
            "todoke pdu trace.pcapng --json > pdus.jsonl",
        ),
    ),
    "smsc": Command(
        "Run the SMSC simulator alone.",
        PROOF,
        (
            "todoke smsc --port 2775 --system-id todoke --password secret",
            "todoke smsc --port 0 --rate-max 100",
        ),
    ),
    "audit": Command(
        "Compare what apps were told with what SMSCs saw.",
        PROOF,
        ("todoke audit --told told.jsonl --smsc docomo.log --smsc au.log",),
    ),
    "simulate": Command(
        "Play seeds on a virtual clock, under faults, and judge them.",
        PROOF,
        ("todoke simulate --seeds 100 --from 1", "todoke simulate --seeds 1 --from 7 --trace"),
    ),
    "bench": Command(
        "Measure the codec or the whole dispatch.",
        PROOF,
        ("todoke bench codec", "todoke bench dispatch --json"),
    ),
}


def program_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("todoke")
    except PackageNotFoundError:
        return "not installed"


def build_app(wanted: str | None = None) -> App:
    """The command-line parser, no sub-command imported.

    `wanted` is told in full by its own docstring; of the others one line is enough.
    """
    app = App(
        name="todoke",
        help="SMPP dispatch engine: hand it messages, it reaches the carriers and says what became of each.",
        help_epilogue=EPILOGUE,
        help_format="markdown",
        version=program_version,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for name, command in COMMANDS.items():
        app.command(
            f"todoke.engine.cli.{name}:{name}",
            name=name,
            help=None if name == wanted else command.summary,
            group=command.group,
            help_epilogue="Examples:\n\n" + "\n".join(f"    {example}" for example in command.examples),
        )
    app.register_install_completion_command(  # pyright: ignore[reportUnknownMemberType]
        help="Install completion for this shell (bash, zsh, fish)."
    )
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. Errors are told on standard error, one line each."""
    wanted = arguments[0] if arguments else "--help"
    if not wanted.startswith("-") and wanted not in COMMANDS:
        close = difflib.get_close_matches(wanted, COMMANDS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"commands: {', '.join(COMMANDS)}"
        return _fail(UsageError(f"no command {wanted!r}; {hint}"))
    app = build_app(wanted)
    try:
        result: object = app(list(arguments), exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        return _fail(UsageError(" ".join(str(error).split()) + " (see --help)"))
    except CliError as error:
        return _fail(error)
    except KeyboardInterrupt:
        print("todoke: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (`todoke events | head`); flushing at exit would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return result if isinstance(result, int) else EXIT_OK


def main() -> NoReturn:
    """Entry point of the `todoke` script."""
    sys.exit(run(sys.argv[1:]))


def _fail(error: CliError) -> int:
    print(f"todoke: {error}", file=sys.stderr)
    return error.exit_code
