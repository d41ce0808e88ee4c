"""`todoke bench reach`: do 99.9 % of what a faulty network can deliver arrive, and at what price?

    todoke bench reach
    todoke bench reach --messages 5000 --rate 100 --spell-after-s 5 --spell-s 10 --json
    todoke bench reach --cut-every-s 0 --spell-s 0 --lost-responses 0

Real processes: `todoke serve` with the embedded server, two simulated SMSCs, a load client. Two routes name
both carriers, each another one first. The SMSCs lose responses, throttle above the contract, refuse
everything for a while, cut binds, tell receipts before responses or twice, and write ids in every form; some
handsets are away for a while, some do not exist. The verdict comes from the seed, the SMSCs' logs and what
the client was told (`reach_network`, `audit`). Exit 1 when a promise was broken, 130 after Ctrl-C.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, Final

from .audit_files import Accepted, read_told
from .load import LoadConfig, LoadResult
from .load_wire import destination, is_long
from .population import Population
from .processes import Spawned, ask
from .reach_figures import (
    CARRIERS,
    Deliverable,
    Doubt,
    ReachConfig,
    ReachFigures,
    requirements,
    table,
)
from .reach_network import CarrierSeen, Ceiling, Plan, copies, first_seen, unforeseen
from .road import PASSWORD, SYSTEM_ID, Road, carrier_table, command, open_road, route_table
from .smsc_config import SmscConfig
from .smsc_log import read_log

PREFIXES: Final = (range(5), range(5, 10))
"""The digit after 8190 that tells which carrier a number's route names first."""


class Run:
    """One run on `road`, from starting everything to the figures."""

    def __init__(self, config: ReachConfig, road: Road) -> None:
        self.config = config
        self._road = road
        self._population = Population(config.seed, config.gone, config.away, config.away_s)

    def __call__(self) -> ReachFigures:
        road = self._road
        smscs = {name: road.start_smsc(name, self._smsc(name, index)) for index, name in enumerate(CARRIERS)}
        ports = [smsc.listening_port() for smsc in smscs.values()]
        road.start_engine(self._toml(ports), self.config.binds)
        load = self._load([road.engine, *smscs.values()])
        status = ask(road.socket, "status")["carriers"]
        engine_exit, _ = road.engine.stop()
        counts = {name: road.end_smsc(smsc) for name, smsc in smscs.items()}
        return self._judge(load, status, engine_exit, counts)

    # The processes

    def _smsc(self, name: str, index: int) -> SmscConfig:
        config = self.config
        return SmscConfig(
            accounts={SYSTEM_ID: PASSWORD},
            smsc_id=name,
            seed=config.seed * len(CARRIERS) + index,
            id_start=1_000_000_000 * (index + 1),
            id_form=config.id_form,
            binds_max=config.binds,
            rate_max=config.rate,
            window_max=config.window,
            response_delay_s=config.response_delay_s,
            response_jitter_s=config.response_jitter_s,
            lost_responses=config.lost_responses,
            receipt_delay_s=config.receipt_delay_s,
            receipt_jitter_s=config.receipt_jitter_s,
            early_receipts=config.early_receipts,
            doubled_receipts=config.doubled_receipts,
            handsets_seed=config.seed,
            gone=config.gone,
            away=config.away,
            away_s=config.away_s,
            spells=config.spells[index],
            cut_every_s=config.cut_every_s,
        )

    def _toml(self, ports: list[int]) -> str:
        config = self.config
        more = f"""\
response_timeout_s = {config.response_timeout_s}
in_doubt = "hold"
hold_s = {config.hold_s}
{config.engine_toml}"""
        tables = [
            carrier_table(name, port, config.binds, config.rate, config.window, more)
            for name, port in zip(CARRIERS, ports, strict=True)
        ]
        for digits, carriers in zip(PREFIXES, (CARRIERS, CARRIERS[::-1]), strict=True):
            tables.append(route_table([f"8190{digit}" for digit in digits], carriers))
        return self._road.toml(
            *tables, server_binary=config.server_binary, events_max=max(1_000_000, config.messages * 2)
        )

    def _load(self, watched: list[Spawned]) -> LoadResult:
        config = self.config
        load = LoadConfig(
            socket=str(self._road.socket),
            messages=config.messages,
            long=config.long,
            rate=config.offered,
            validity_s=config.validity_s,
            quiet_s=config.quiet_s,
            told=str(self._road.told),
        )

        def look(_: dict[str, int]) -> None:
            for process in watched:
                process.check()

        return self._road.load(load, look)

    # The verdict

    def _judge(
        self,
        load: LoadResult,
        status: list[dict[str, Any]],
        engine_exit: int,
        smsc: dict[str, dict[str, Any]],
    ) -> ReachFigures:
        config, population = self.config, self._population
        # First what could be done, without a look at what the engine did.
        deliverable, ceiling = self._ceiling()
        seen = {name: CarrierSeen(read_log(self._road.log(name))) for name in CARRIERS}
        surprises = unforeseen(seen.values(), population)
        waited = first_seen(seen.values(), len(CARRIERS), preferred)
        rates = {
            name: each.used(config.rate, config.binds, spells, times)
            for (name, each), spells, times in zip(seen.items(), config.spells, waited, strict=True)
        }
        sent_twice = copies(list(seen.values()), population)
        # Then what the application was told, and what the engine says of its doubts.
        delivered, missed = self._delivered(deliverable)
        counts = [carrier["counts"] for carrier in status]
        doubt = Doubt(
            in_doubt=sum(each["in_doubt"] for each in counts),
            suspects=sum(each.suspects for each in seen.values()),
            settled=sum(each["settled"] for each in counts),
            copies=sent_twice,
        )
        logs = [read_log(self._road.log(name)) for name in CARRIERS]
        audit = self._road.audit(*logs, doubt_allowed=doubt.in_doubt)
        reached = Deliverable(
            messages=config.messages,
            deliverable=ceiling.deliverable,
            gone=ceiling.gone,
            too_late=ceiling.too_late,
            delivered=delivered,
            missed=missed,
            unforeseen=surprises,
        )
        asked = requirements(config, reached, doubt, rates, audit)
        return ReachFigures(
            config=config,
            ok=all(each.ok is not False for each in asked),
            requirements=asked,
            wall_s=round(load.reported_at - load.started, 1),
            deliverable=reached,
            doubt=doubt,
            rates=rates,
            refused={name: dict(each.refused) for name, each in seen.items()},
            cuts={name: each.cuts for name, each in seen.items()},
            audit=audit,
            load=load,
            status=status,
            engine_exit=engine_exit,
            smsc=smsc,
        )

    def _ceiling(self) -> tuple[set[str], Ceiling]:
        """The destinations of the deliverable messages."""
        config = self.config
        plan = Plan(
            rates=[float(config.rate)] * len(CARRIERS),
            spells=config.spells,
            validity_s=config.validity_s,
            receipt_s=config.receipt_s,
        )
        ceiling = Ceiling(plan, self._population)
        deliverable: set[str] = set()
        for number in range(config.messages):
            to = destination(number)[1:]
            submitted_s = number / config.offered if config.offered else 0.0
            if ceiling.message(to, 2 if is_long(number, config.long) else 1, submitted_s):
                deliverable.add(to)
        return deliverable, ceiling

    def _delivered(self, deliverable: set[str]) -> tuple[int, dict[str, int]]:
        """(how many of the deliverable were reported delivered, last states of the others)."""
        to: dict[str, str] = {}
        states: dict[str, str] = {}
        for record in read_told(self._road.told):
            if isinstance(record, Accepted):
                to[record.message_id] = record.to.removeprefix("+")
            else:
                states[to[record.message_id]] = record.state
        missed = Counter(states.get(each, "none") for each in deliverable)
        return missed.pop("delivered", 0), dict(missed.most_common())


def preferred(to: str) -> int:
    """Which carrier (an index into CARRIERS) the route of this number (digits) names first."""
    return next(index for index, digits in enumerate(PREFIXES) if int(to[4]) in digits)


def run_reach(config: ReachConfig) -> ReachFigures:
    """One run. Raises `ProcessFailed` when a process does not start or ends by itself, OSError."""
    with open_road(config.directory) as road:
        return Run(config, road)()


def main(arguments: list[str] | None = None) -> int:
    """Command line words in, exit code out: 0 when every promise was kept."""
    return command("reach", arguments, __doc__ or "", ReachConfig, run_reach, table)


if __name__ == "__main__":
    sys.exit(main())
