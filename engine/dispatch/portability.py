"""Which carrier a number really belongs to: order to try, no more. Pure.

A prefix does not tell the carrier of a ported number. What does: a table (exact numbers, prefixes), or
experience: one carrier refused the number and another took it. Nothing here adds a carrier to those that the
route names, or takes one away: a wrong guess costs one refusal, never a message.
"""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from ...codecs import constants as c
from .retry import StatusClass

NUMBERS_MAX: Final = 100_000
"""Numbers whose carrier was learnt (some 20 MB)."""
TTL_S: Final = 604_800.0
"""A number is ported once in years; a week keeps what is wrong from staying wrong for long."""
REFUSALS_MAX: Final = 10_000
"""Numbers that were refused somewhere and not taken anywhere yet."""
REFUSAL_S: Final = 3_600.0
"""A refusal and an acceptance further apart than this are two stories."""
REFUSALS_PER_NUMBER_MAX: Final = 8

ROWS_MAX: Final = 5_000_000
LINE_ERRORS_MAX: Final = 100
DIGITS_MAX: Final = 15
"""E.164."""

NOT_THE_NUMBERS: Final = frozenset(
    {
        *(c.ESME_RINVMSGLEN, c.ESME_RINVCMDID, c.ESME_RINVPRTFLG, c.ESME_RINVREGDLVFLG),
        *(c.ESME_RINVSRCADR, c.ESME_RINVSRCTON, c.ESME_RINVSRCNPI, c.ESME_RINVSRCADDRSUBUNIT),
        *(c.ESME_RINVSERTYP, c.ESME_RINVNUMDESTS, c.ESME_RINVDLNAME, c.ESME_RINVDESTFLAG),
        *(c.ESME_RINVSUBREP, c.ESME_RINVESMCLASS, c.ESME_RCNTSUBDL, c.ESME_RINVREPFLAG),
        *(c.ESME_RINVNUMMSGS, c.ESME_RINVSCHED, c.ESME_RINVEXPIRY, c.ESME_RINVDFTMSGID),
        *(c.ESME_RINVTLVSTREAM, c.ESME_RTLVNOTALLWD, c.ESME_RINVTLVLEN, c.ESME_RMISSINGTLV),
        *(c.ESME_RINVTLVVAL, c.ESME_RSERTYPDENIED, c.ESME_RINVDCS),
    }
)
"""Refusals that name the sender, the content or the form: they would be the same for any number."""


class Portability(Protocol):
    """What the router asks. An application may bring its own."""

    def carriers(self, to: str, usual: list[str], now: float) -> list[str]:
        """The carriers of `usual` in the order to try for this number (digits, no `+`); monotonic seconds."""
        ...


def teaches(command_status: int, status_class: StatusClass) -> bool:
    """Whether a refusal may mean that the number is another carrier's."""
    may = status_class is StatusClass.ROUTE or status_class is StatusClass.PERMANENT
    return may and command_status not in NOT_THE_NUMBERS


def first(carrier: str | None, usual: Sequence[str]) -> list[str]:
    """`usual` with this carrier first, if it is one of them."""
    if carrier is None or carrier not in usual:
        return list(usual)
    return [carrier, *(each for each in usual if each != carrier)]


# -- experience ----------------------------------------------------------------------------------------


class LearnedStatistics(msgspec.Struct, frozen=True):
    """`numbers` known of `limit`; how many were `learnt`, `disproved` and `forgotten` (too old, no room)."""

    numbers: int
    limit: int
    learnt: int
    disproved: int
    forgotten: int


class LearnedPortability:
    """What refusals and acceptances have taught, for a time and for so many numbers. Times monotonic."""

    __slots__ = ("_disproved", "_forgotten", "_known", "_learnt", "_limit", "_refused", "_ttl_s")

    def __init__(self, limit: int = NUMBERS_MAX, ttl_s: float = TTL_S) -> None:
        """Raises ValueError for a limit below 1 or a time of 0 or less."""
        if limit < 1 or not ttl_s > 0:
            raise ValueError(f"{limit} numbers for {ttl_s} s are impossible; allowed: 1 and more, above 0 s")
        self._limit = limit
        self._ttl_s = ttl_s
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """Number -> (carrier, until); learnt last is last, so the first ends first."""
        self._refused: OrderedDict[str, tuple[list[str], float]] = OrderedDict()
        """Number -> (carriers that refused it, until)."""
        self._learnt = self._disproved = self._forgotten = 0

    def __repr__(self) -> str:
        """Without the numbers."""
        return f"<LearnedPortability {len(self._known)} of {self._limit}>"

    def __bool__(self) -> bool:
        """False while nothing is known or suspected: a hot loop need not tell of acceptances."""
        return bool(self._known or self._refused)

    def refused(self, to: str, carrier: str, now: float) -> None:
        """This carrier refused that number in a way that `teaches`."""
        known = self._known.get(to)
        if known is not None and known[0] == carrier:
            del self._known[to]
            self._disproved += 1
        carriers, until = self._refused.pop(to, ([], now))
        if until <= now:
            carriers = []
        if carrier not in carriers and len(carriers) < REFUSALS_PER_NUMBER_MAX:
            carriers = [*carriers, carrier]
        self._refused[to] = (carriers, now + REFUSAL_S)
        self._shorten(now)

    def accepted(self, to: str, carrier: str, now: float) -> None:
        """This carrier took that number (ESME_ROK, or better a receipt that says delivered)."""
        refused = self._refused.pop(to, None)
        if refused is None or refused[1] <= now:
            return
        carriers, _ = refused
        if carrier in carriers:
            # It refused and took it: what it refused was not the number.
            return
        self._known.pop(to, None)
        self._known[to] = (carrier, now + self._ttl_s)
        self._learnt += 1
        self._shorten(now)

    def carrier_of(self, to: str, now: float) -> str | None:
        """The carrier that was learnt, None if none was or too long ago."""
        known = self._known.get(to)
        return None if known is None or known[1] <= now else known[0]

    def carriers(self, to: str, usual: list[str], now: float) -> list[str]:
        """As `Portability.carriers`."""
        return first(self.carrier_of(to, now), usual)

    def statistics(self) -> LearnedStatistics:
        """What is remembered."""
        return LearnedStatistics(
            numbers=len(self._known),
            limit=self._limit,
            learnt=self._learnt,
            disproved=self._disproved,
            forgotten=self._forgotten,
        )

    def _shorten(self, now: float) -> None:
        known, refused = self._known, self._refused
        while known and (len(known) > self._limit or next(iter(known.values()))[1] <= now):
            known.popitem(last=False)
            self._forgotten += 1
        while refused and (len(refused) > REFUSALS_MAX or next(iter(refused.values()))[1] <= now):
            refused.popitem(last=False)


# -- a table -------------------------------------------------------------------------------------------


class LineError(NamedTuple):
    """What is wrong with a line of a table (counted from 1). `detail` shows no number of a subscriber."""

    line: int
    detail: str


class NumberTable:
    """Exact numbers and prefixes -> carrier. The exact number wins, then the longest prefix."""

    __slots__ = ("_lengths", "_numbers", "_prefixes")

    def __init__(self, numbers: dict[str, str] | None = None, prefixes: dict[str, str] | None = None) -> None:
        self._numbers = dict(numbers or {})
        self._prefixes = dict(prefixes or {})
        self._lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)

    def __repr__(self) -> str:
        """Without the numbers."""
        return f"<NumberTable {len(self._numbers)} numbers, {len(self._prefixes)} prefixes>"

    def __len__(self) -> int:
        return len(self._numbers) + len(self._prefixes)

    def carrier_of(self, to: str) -> str | None:
        """The carrier of a number, None if the table does not tell."""
        found = self._numbers.get(to)
        if found is None:
            for length in self._lengths:
                found = self._prefixes.get(to[:length])
                if found is not None:
                    break
        return found

    def carriers(self, to: str, usual: list[str], now: float) -> list[str]:
        """As `Portability.carriers`."""
        return first(self.carrier_of(to), usual)


def load_table(text: str, carriers: Collection[str]) -> tuple[NumberTable, list[LineError]]:
    """A table from CSV text: `number,carrier` lines, `prefix*,carrier` lines, digits with or without `+`.

    Empty lines, lines that begin with `#` and a first line `number,carrier` are left out. A line that is
    wrong is left out and told, at most LINE_ERRORS_MAX of them; of two lines for one number that differ, the
    first stands. At most ROWS_MAX lines are read.
    """
    numbers: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    errors: list[LineError] = []
    for line, written in enumerate(text.splitlines(), 1):
        if line > ROWS_MAX:
            errors.append(LineError(line, f"the table has more than {ROWS_MAX} lines; the rest is left out"))
            break
        stripped = written.strip().lstrip("\ufeff")
        if not stripped or stripped.startswith("#") or (line == 1 and stripped.lower() == "number,carrier"):
            continue
        wrong = _take_line(stripped, carriers, numbers, prefixes)
        if wrong is not None:
            errors.append(LineError(line, wrong))
            if len(errors) >= LINE_ERRORS_MAX:
                errors.append(LineError(line, "too many errors; the lines after this one are left out"))
                break
    return NumberTable(numbers, prefixes), errors


def _take_line(
    line: str, carriers: Collection[str], numbers: dict[str, str], prefixes: dict[str, str]
) -> str | None:
    """Put one line into the table, or say what is wrong with it."""
    try:
        fields = [field.strip() for field in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        return f"no CSV: {error}"
    if len(fields) != 2:
        return f"{len(fields)} fields; 2 are wanted: number (or prefix*) and carrier"
    number, carrier = fields
    if carrier not in carriers:
        return f"no carrier {carrier[:32]!r}; allowed: {', '.join(sorted(carriers))}"
    digits = number.removeprefix("+").removesuffix("*")
    into = prefixes if number.endswith("*") else numbers
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= DIGITS_MAX):
        return f"no number: 1 to {DIGITS_MAX} digits of an international number are wanted, * ends a prefix"
    if into.setdefault(digits, carrier) != carrier:
        return "given before with another carrier"
    return None


# -- both ----------------------------------------------------------------------------------------------


class KnownPortability:
    """Experience first, because it is newer, then the table."""

    __slots__ = ("learned", "table")

    def __init__(self, learned: LearnedPortability, table: NumberTable | None = None) -> None:
        self.learned = learned
        self.table = table or NumberTable()

    def __bool__(self) -> bool:
        """False while nothing at all is known."""
        return bool(self.learned) or bool(self.table)

    def carriers(self, to: str, usual: list[str], now: float) -> list[str]:
        """As `Portability.carriers`: the learnt carrier, the table's, then the rest as usual."""
        by_table = first(self.table.carrier_of(to), usual) if self.table else usual
        return first(self.learned.carrier_of(to, now), by_table)
