"""What must hold for anything that comes in a message: headers, receipts, texts, parts."""

# An error that is let out is looked at where it is caught; there is no pytest here.

from __future__ import annotations

from typing import Any

import msgspec
from todoke.codecs import inbound, pdu, reassembly, receipt, smpp_time, udh
from todoke.codecs.errors import FramingError, PduError

from .pdu_targets import decoded_of, whole
from .reading import Octets

# --- user data header -------------------------------------------------------------------------------------


def headers(data: bytes) -> None:
    """A header and the rest are the data; elements lie in the header; what is found can be built again."""
    header, rest = udh.strip(data)
    assert header + rest == data
    assert not header or len(header) == header[0] + 1
    elements = udh.elements(header)
    laid = b"".join(bytes((iei, len(value))) + value for iei, value in elements)
    assert header[1:].startswith(laid)
    built = udh.build(elements)
    assert built[1:] == laid
    assert udh.elements(built) == elements
    if built:
        assert udh.strip(built + b"x") == (built, b"x")
    for find in (udh.concat_of, udh.reference_bits_of, udh.shifts_of, udh.ports_of):
        assert find(built) == find(header)
        find(data)  # no header at all: anything, but no error
    concat = udh.concat_of(header)
    bits = udh.reference_bits_of(header)
    if concat is None:
        assert bits == 0
    else:
        assert 1 <= concat.number <= concat.total <= 255
        assert 0 <= concat.reference < 1 << bits
        made = (udh.concat8 if bits == 8 else udh.concat16)(*concat)
        assert (udh.concat_of(made), udh.reference_bits_of(made)) == (concat, bits)
    locking, single = udh.shifts_of(header)
    assert 0 <= locking <= 13
    assert 0 <= single <= 13
    ports = udh.ports_of(header)
    if ports is not None:
        assert 0 <= max(ports.destination, ports.source) < 1 << ports.bits
        assert udh.ports_of(udh.build([ports.element])) == ports


# --- receipts ---------------------------------------------------------------------------------------------

RECEIPT_STATES = set(receipt.STATES.values()) | set(receipt.WORDS.values())


def ids(raw: str) -> None:
    """The canonical form of a canonical form is itself; the other base's other base is the first."""
    canonical = receipt.canonical_id(raw)
    assert canonical
    assert receipt.canonical_id(canonical) == canonical
    variants = receipt.id_variants(raw)
    assert receipt.id_variants(canonical) == variants
    assert len(variants) <= 2
    assert canonical not in variants
    for variant in variants:
        assert receipt.canonical_id(variant) == variant
        if len(variant) <= receipt.ID_CHARACTERS_MAX:
            assert canonical in receipt.id_variants(variant)


def receipts(data: bytes) -> None:
    """A receipt, or None, or a documented error; its strings are short; its id is stable."""
    frame = whole(data)
    try:
        found = receipt.parse_deliver(frame)
    except (PduError, FramingError):
        assert decoded_of(frame, lenient=True) is None
        found = None
    else:
        strict = receipt.parse_deliver(frame, by_esm_class_only=True)
        assert strict is None or strict == found
    if found is not None:
        assert found.state in RECEIPT_STATES
        for value in (found.message_id, found.stat, found.err, found.done_date, *found.alt_ids):
            # One letter in lower case may be two in upper case.
            assert len(value) <= 2 * receipt.VALUE_CHARACTERS_MAX
            assert "\0" not in value
        assert found.stat == found.stat.upper()
        assert found.message_id not in found.alt_ids
        assert found.message_id or not found.alt_ids
        if found.network_error is not None:
            assert all(0 <= number <= 99_999 for number in found.network_error)
        smpp_time.receipt_date(found.done_date)
        for raw in (found.message_id, *found.alt_ids):
            ids(raw)
    ids(data[16:].decode("latin-1"))
    ids(data[16:].decode("utf-8", "replace"))


# --- subscribers' messages --------------------------------------------------------------------------------

DEFAULT_ALPHABETS = ("gsm7", "latin1", "ascii", "shift_jis")


def inbounds(data: bytes) -> None:
    """Any deliver_sm or data_sm that can be decoded can be shown, in every default alphabet."""
    decoded = decoded_of(whole(data), lenient=True)
    if not isinstance(decoded, pdu.DeliverSm | pdu.DataSm):
        return
    for alphabet in DEFAULT_ALPHABETS:
        for packed in (False, True):
            check_inbound(decoded, inbound.read(decoded, alphabet, packed=packed))


def check_inbound(decoded: pdu.DeliverSm | pdu.DataSm, read: inbound.Inbound) -> None:
    assert read.header + read.data == decoded.message
    assert read.claimed in inbound.ALPHABETS
    assert read.alphabet in inbound.ALPHABETS
    assert (read.text is None) == (read.alphabet == "binary")
    assert (read.concat is None) == (read.reference_bits == 0)
    if read.concat is not None:
        assert 1 <= read.concat.number <= read.concat.total <= 255
        assert 0 <= read.concat.reference <= 0xFFFFFFFF
    if read.ports is not None:
        assert 0 <= max(read.ports.destination, read.ports.source) < 1 << read.ports.bits
    assert read.message_class is None or 0 <= read.message_class <= 3
    if read.text is not None:
        assert len(read.text) <= 8 * len(read.data) // 7 + 1
        read.text.encode("utf-8")  # no half of a pair
    hidden = msgspec.structs.replace(read, text="", data=b"*" * len(read.data), source_addr="*")
    assert repr(hidden) == repr(read)


# --- parts ------------------------------------------------------------------------------------------------

PARTS_MAX = 30


def _part(octets: Octets, packed: bool) -> inbound.Inbound:
    choice = octets.octet()
    total = 1 + choice % 4
    number = 1 + (choice >> 2) % total
    reference = choice >> 4 & 1
    kind = octets.octet()
    message = pdu.DeliverSm(
        source_addr=b"AB"[kind & 1 : (kind & 1) + 1],
        destination_addr=b"1",
        esm_class=0x40,
        data_coding=(0, 8, 4, 0)[kind >> 1 & 3],
        short_message=(udh.concat8 if kind & 8 else udh.concat16)(reference, total, number)
        + octets.take((kind >> 4) + 1),
    )
    if kind & 0x80:
        message.esm_class = 0
    return inbound.read(message, packed=packed)


def parts(data: bytes) -> None:
    """Each part is told as often as it was added, at most, and at least once; a message's parts are in order;
    limits hold; an assembler rebuilt from its state goes on in the same way.
    """
    octets = Octets(data)
    limits = reassembly.Limits(ttl_s=10.0, repeat_s=5.0, told_max=4, series_per_sender_max=2, series_max=3,
                               octets_max=1 + 1_200 * (1 + octets.octet() % 6))  # fmt: skip
    packed = bool(octets.octet() & 1)
    assembler = reassembly.Assembler(limits)
    added: list[inbound.Inbound] = []
    told: list[reassembly.Whole] = []
    now = 0.0
    while octets and len(added) < PARTS_MAX:
        action = octets.octet()
        if action < 0x20:
            now += action / 3
            found = assembler.expire(now)
        else:
            part = added[action % len(added)] if action >= 0xE0 and added else _part(octets, packed)
            twin = _twin(limits, assembler)
            found = assembler.add(part, now)
            assert twin.add(part, now) == found
            assert twin.state() == assembler.state()
            added.append(part)
        told += found
        assert len(assembler) <= limits.series_max
        assert assembler.octets <= limits.octets_max or len(assembler) == 0
        deadline = assembler.next_deadline()
        assert (deadline is None) == (len(assembler) == 0)
    told += assembler.expire(now + 1_000.0)
    assert len(assembler) == 0
    given = [part for one in told for part in one.parts]
    assert all(part in given for part in added)
    assert all(given.count(part) <= added.count(part) for part in given)
    for one in told:
        numbers = [part.concat.number if part.concat else 1 for part in one.parts]
        assert numbers == sorted(set(numbers))
        assert sorted([*numbers, *one.missing]) == list(range(1, one.total + 1))
        assert b"".join(part.data for part in one.parts) == one.data
        if one.text is not None:
            one.text.encode("utf-8")


def _twin(limits: reassembly.Limits, assembler: reassembly.Assembler) -> reassembly.Assembler:
    """As after a restart: from the octets of its state."""
    kept: Any = msgspec.msgpack.encode(assembler.state())
    return reassembly.Assembler(limits, msgspec.msgpack.decode(kept, type=reassembly.State))
