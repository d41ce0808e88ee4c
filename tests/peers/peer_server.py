"""What the scripted foreign servers in Python share: events out, commands in, and how they read a text.

Nothing of Todoke is imported here: what these programs say is another's evidence.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable

from smpplib.gsm import GSM_CHARACTER_TABLE

UDHI = 0x40
UCS2 = 8
_telling = threading.Lock()


def tell(event: str, **fields: object) -> None:
    with _telling:
        print(json.dumps({"event": event, **fields}), flush=True)


def commands(act: Callable[[str], None]) -> None:
    """Call `act` with each command from standard input, until it ends."""
    for line in sys.stdin:
        act(json.loads(line)["do"])


def text_of(octets: bytes, esm_class: int, data_coding: int) -> dict[str, str]:
    """`header` (hex) and `text` of a short_message, the default alphabet read by smpplib's table."""
    header = b""
    if esm_class & UDHI:
        header, octets = octets[: octets[0] + 1], octets[octets[0] + 1 :]
    if data_coding == UCS2:
        text = octets.decode("utf-16-be")
    else:
        page = 0
        text = ""
        for octet in octets:
            if octet == 0x1B:
                page = 0x80
            else:
                text += GSM_CHARACTER_TABLE[page + octet]
                page = 0
    return {"header": header.hex(), "text": text}
