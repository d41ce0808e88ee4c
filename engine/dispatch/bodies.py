"""From an entry of a block to submit_sm bodies, by one carrier's rules. Pure.

The same entry always gives the same octets: a part that is sent again is identical to its first copy, so a
handset replaces or ignores it instead of assembling it twice (3GPP TS 23.040 section 9.2.3.24.1).
"""

from __future__ import annotations

from typing import Final

from ...codecs import segment, smpp_time
from ...codecs.errors import TextError
from ...codecs.fast import SubmitTemplate
from ..carrier_rules import build_carrier_rules
from ..config import CarrierConfig
from ..ledger.blocks import Entry, pending_parts
from . import hours

TEMPLATES_MAX: Final = 1_000
TON_UNKNOWN, TON_INTERNATIONAL, TON_ALPHANUMERIC = 0, 1, 5
NPI_UNKNOWN, NPI_E164 = 0, 1
VALIDITY_LONGEST_S: Final = 63 * 86_400
"""The longest validity_period that is asked for (3GPP TS 23.040 section 9.2.3.12: 63 weeks; carriers take
days).
"""


def sender_address(sender: str, ton: int | str, npi: int | str) -> tuple[int, int, bytes]:
    """source_addr_ton, source_addr_npi and source_addr. `auto` goes by the shape (SMPP 3.4 section 5.2.5,
    5.2.6).
    """
    if not sender:
        shape_ton, shape_npi = TON_UNKNOWN, NPI_UNKNOWN
    elif sender.startswith("+"):
        shape_ton, shape_npi = TON_INTERNATIONAL, NPI_E164
    elif sender.isdecimal():
        shape_ton, shape_npi = TON_UNKNOWN, NPI_E164
    else:
        shape_ton, shape_npi = TON_ALPHANUMERIC, NPI_UNKNOWN
    return (
        ton if isinstance(ton, int) else shape_ton,
        npi if isinstance(npi, int) else shape_npi,
        sender.removeprefix("+").encode("latin-1", "replace"),
    )


def least_ms(config: CarrierConfig) -> int:
    """How much time a message must have left to be sent: where the carrier does not heed validity_period, as
    long as it may go on trying by itself.
    """
    return max(hours.VALIDITY_LEAST_MS, int(config.ignores_validity_s * 1000))


class BodyMaker:
    """Makes submit_sm bodies for one carrier."""

    def __init__(self, config: CarrierConfig) -> None:
        self.config = config
        self.rules = build_carrier_rules(config)
        self._templates: dict[tuple[str, bool], SubmitTemplate] = {}

    def template(self, sender: str, receipt: bool = True) -> SubmitTemplate:
        """The constant part of every submit_sm from one sender."""
        template = self._templates.get((sender, receipt))
        if template is None:
            config = self.config
            ton, npi, address = sender_address(sender or config.sender, config.sender_ton, config.sender_npi)
            template = SubmitTemplate(
                service_type=config.service_type.encode("ascii"),
                source_addr_ton=ton,
                source_addr_npi=npi,
                source_addr=address,
                dest_addr_ton=config.dest_ton,
                dest_addr_npi=config.dest_npi,
                registered_delivery=1 if receipt else 0,
            )
            if len(self._templates) >= TEMPLATES_MAX:
                self._templates.clear()
            self._templates[sender, receipt] = template
        return template

    def segmented(self, entry: Entry) -> segment.Segmented:
        """The entry's text in parts. Raises TextError if the carrier's rules changed since it was
        accepted.
        """
        if entry.extra is not None and entry.extra.data is not None:
            return segment.segment_data(entry.extra.data, self.rules)
        return segment.segment(entry.text, self.rules)

    def bodies(self, entry: Entry, now_ms: int) -> dict[int, bytes]:
        """part -> submit_sm body, of the parts that are still to be sent. Raises TextError as above."""
        extra = entry.extra
        template = self.template(entry.sender, extra is None or extra.receipt)
        window = None if extra is None else extra.window
        seconds = hours.validity_s(entry.expires_ms, window, now_ms)
        validity = smpp_time.relative(min(seconds, VALIDITY_LONGEST_S)) if seconds else b""
        segmented = self.segmented(entry)
        fields = segment.fields(segmented, self.rules, entry.reference)
        if len(fields) != entry.parts:
            # Part of it may be on handsets already, and the app was told how many parts: neither cut anew
            # nor cut short.
            detail = f"accepted as {entry.parts} parts, {len(fields)} by the rules of today"
            raise TextError("text", "too_long", detail)
        to = entry.to.encode()
        wanted = pending_parts(entry)
        bodies: dict[int, bytes] = {}
        for part in wanted:
            esm_class, short_message, tlvs = fields[part]
            bodies[part] = template.body(to, segmented.data_coding, short_message, esm_class, validity, tlvs)
        return bodies
