"""How a carrier wants texts cut: its configuration as rules of the segmenter. Pure."""

from __future__ import annotations

from ..codecs import national, segment, transliterate
from .config import CarrierConfig

_LANGUAGE_IDS = {name: language for language, name in national.LANGUAGES.items()}
_ALPHABETS = ("gsm7", "latin1", "ucs2")


def build_carrier_rules(carrier: CarrierConfig) -> segment.Rules:
    """The segmenting rules of one carrier; what it leaves out is what SMPP 3.4 and 3GPP TS 23.040 give."""
    return segment.Rules(
        concat=carrier.concat,
        alphabets=tuple(carrier.alphabets),
        units_single=_units(carrier, "single"),
        units_part=_units(carrier, "part"),
        parts_max=carrier.parts_max,
        gsm7_data_coding=carrier.gsm7_data_coding,
        latin1_data_coding=carrier.latin1_data_coding,
        ucs2_data_coding=carrier.ucs2_data_coding,
        binary_data_coding=carrier.binary_data_coding,
        languages=tuple(_LANGUAGE_IDS[name] for name in carrier.languages),
        packed=carrier.gsm7_packed,
        transliterate={**transliterate.TABLE, **carrier.transliterate_extra}
        if carrier.transliterate
        else None,
    )


def _units(carrier: CarrierConfig, kind: str) -> dict[str, int] | None:
    """Overrides of one kind, by alphabet; None when there are none."""
    given = {name: getattr(carrier, f"{name}_{kind}_units") for name in _ALPHABETS}
    return {name: units for name, units in given.items() if units is not None} or None
