"""Alphabet, parts and units of each part, as npm's sms-segments-calculator and split-sms have them.

Thousands of texts, the same in every run. Where the two are known to differ from us each difference is a
predicate with a name and a reason; every text that none of them covers must agree exactly.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
import regex
from todoke.codecs import gsm7
from todoke.codecs.segment import Rules, segment

TEXTS = 3_000
NODE_S = 60.0
RULES = Rules(parts_max=255)

PLAIN = [character for character in gsm7.BASIC if character not in "\x1b\r\n"]
EXTENDED = list(gsm7.EXTENSION)
JAPANESE = list("日本語のお荷物をお届けしましたアイウエオ、。ー「」")
OTHER = list("яжщאבגทภ中文한글þćőﬁ")
COMBINED = ["e\u0301", "か\u3099", "a\u0308\u0323", "ก็", "é\u0301", "葛\U000e0100"]
FAMILY = "👨\u200d👩\u200d👧\u200d👦"
EMOJI = [FAMILY, "😀", "🚚", "👍🏽", "🇯🇵", "🇯", "❤\ufe0f", "👩\u200d🚀", "1\ufe0f\u20e3", "🏴\u200d☠\ufe0f"]
CONJUNCTS = ["क्ष", "ज्ञा", "ক্ষ"]
LONG = ["e" + "\u0301" * 40, "o" + "\u0308" * 80]

MIXTURES: dict[str, list[str]] = {
    "gsm7": PLAIN,
    "gsm7 with extension": PLAIN + EXTENDED * 4,
    "extension": EXTENDED,
    "lines": [*PLAIN, "\n", "\r", "\n\n"],
    "CR LF": [*PLAIN, *["\r\n"] * 8],
    "japanese": JAPANESE,
    "japanese lines": [*JAPANESE, "\n", *["\r\n"] * 2],
    "other": OTHER,
    "mixed": PLAIN + EXTENDED + JAPANESE + OTHER,
    "combined": JAPANESE + COMBINED,
    "emoji": JAPANESE + EMOJI,
    "emoji only": EMOJI,
    "conjuncts": JAPANESE + CONJUNCTS,
    "long clusters": JAPANESE + LONG,
}
LENGTHS = (1, 66, 67, 70, 71, 133, 134, 135, 152, 153, 154, 159, 160, 161, 201, 305, 306, 307, 459, 660)


def texts() -> Iterator[tuple[str, str]]:
    """(mixture, text): at the sizes where parts change, and of any size; half of them of one unit repeated
    with something else near the boundary."""
    random = Random(2026)
    for number in range(TEXTS):
        name = list(MIXTURES)[number % len(MIXTURES)]
        alphabet = MIXTURES[name]
        length = (
            random.choice(LENGTHS) + random.randint(-3, 3)
            if random.random() < 0.6
            else random.randint(1, 700)
        )
        if random.random() < 0.3:
            filler = random.choice(alphabet)
            pieces = [filler if random.random() < 0.97 else random.choice(alphabet) for _ in range(length)]
        else:
            pieces = random.choices(alphabet, k=max(1, length))
        yield name, "".join(pieces)[: max(1, length)]


class Theirs(NamedTuple):
    alphabet: str
    units: list[int]
    clusters: list[int]
    """Code points of each grapheme cluster; only the calculator makes any."""


# --- the two libraries -------------------------------------------------------------------------------------


def ask(lines: list[str]) -> list[tuple[Theirs, Theirs]]:
    """What the two say of each text, in one process."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    for package in ("sms-segments-calculator", "split-sms"):
        if not any((Path(folder) / package).is_dir() for folder in folders if folder):
            pytest.skip(f"needs npm's {package} in NODE_PATH")
    script = Path(__file__).with_name("segment_counts.js")
    given = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run(
        [node, str(script)], input=given, capture_output=True, text=True, timeout=NODE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(lines)
    return [(theirs(answer["calculator"]), theirs(answer["split"])) for answer in answers]


def theirs(answer: dict[str, object]) -> Theirs:
    units, clusters = answer["units"], answer.get("clusters", [])
    assert isinstance(units, list)
    assert isinstance(clusters, list)
    return Theirs(str(answer["alphabet"]), units, clusters)


def ours(text: str) -> tuple[str, list[int]]:
    cut = segment(text, RULES)
    return cut.alphabet, cut.units


# --- their known differences -------------------------------------------------------------------------------


def clusters(text: str) -> list[str]:
    return regex.findall(r"\X", text)


def units(cluster: str) -> int:
    return len(cluster.encode("utf-16-be")) // 2


def crlf(text: str, _: Theirs) -> bool:
    """Both may cut between CR and LF; we take the two for one cluster, as Unicode does."""
    return "\r\n" in text


def older_clusters(text: str, answer: Theirs) -> bool:
    """The calculator's clusters are of Unicode 10: since then conjuncts of Indic scripts and more are one."""
    own = [size for cluster in clusters(text) for size in ([1, 1] if cluster == "\r\n" else [len(cluster)])]
    return own != answer.clusters


def long_cluster(text: str, _: Theirs) -> bool:
    """The calculator never tears a cluster, however long, and so makes parts of more than 67 units."""
    return any(units(cluster) > 67 // 2 for cluster in clusters(text))


def several_code_points(text: str, _: Theirs) -> bool:
    """split-sms keeps surrogate pairs together, not the code points of one cluster (ZWJ, flags, accents)."""
    return any(len(cluster) > 1 and cluster != "\r\n" for cluster in clusters(text))


def cut(sizes: list[int], alphabet: str) -> list[int]:
    """Parts of whole pieces, as both libraries fill them: the first one up to the size of a single message,
    its end moved into the second when that turns out to be needed."""
    single, part = (160, 153) if alphabet == "gsm7" else (70, 67)
    parts: list[list[int]] = [[]]
    for size in sizes:
        if sum(parts[-1]) + size > (single if len(parts) == 1 else part):
            parts.append([])
            while len(parts) == 2 and sum(parts[0]) > part:
                parts[1].insert(0, parts[0].pop())
        parts[-1].append(size)
    return [sum(one) for one in parts]


def sizes(pieces: list[str], alphabet: str) -> list[int]:
    return [len(gsm7.encode(piece) or b"") if alphabet == "gsm7" else units(piece) for piece in pieces]


def by_clusters(text: str, answer: Theirs) -> list[int]:
    """What the calculator should say, by the clusters it says it has found."""
    pieces: list[str] = []
    at = 0
    for length in answer.clusters:
        pieces.append(text[at : at + length])
        at += length
    return cut(sizes(pieces, answer.alphabet), answer.alphabet)


def by_code_points(text: str, answer: Theirs) -> list[int]:
    """What split-sms should say, which looks at nothing larger than a code point."""
    return cut(sizes(list(text), answer.alphabet), answer.alphabet)


Predicate = Callable[[str, Theirs], bool]
CALCULATOR: tuple[Predicate, ...] = (crlf, older_clusters, long_cluster)
SPLIT: tuple[Predicate, ...] = (crlf, several_code_points)


def compare(own: tuple[str, list[int]], text: str, answer: Theirs, known: tuple[Predicate, ...]) -> str:
    """ "" if we agree, the name of the known difference if not, else what nobody knows yet."""
    if own == (answer.alphabet, answer.units):
        return ""
    return next((one.__name__ for one in known if one(text, answer)), f"unknown: {own} but {answer[:2]}")


@pytest.fixture(scope="module")
def answers() -> list[tuple[str, str, Theirs, Theirs]]:
    given = list(texts())
    return [
        (name, text, *answer)
        for (name, text), answer in zip(given, ask([text for _, text in given]), strict=True)
    ]


def test_thousands_of_texts(answers: list[tuple[str, str, Theirs, Theirs]]) -> None:
    found: dict[str, Counter[str]] = {"calculator": Counter(), "split": Counter()}
    for name, text, calculator, split in answers:
        own = ours(text)
        for library, answer, known in (("calculator", calculator, CALCULATOR), ("split", split, SPLIT)):
            outcome = compare(own, text, answer, known)
            assert not outcome.startswith("unknown"), (library, name, len(text), ascii(text[:200]), outcome)
            if outcome:  # and no more than that: with its pieces in place of ours the same parts come out
                explained = (by_clusters if library == "calculator" else by_code_points)(text, answer)
                assert answer.units == explained, (library, name, len(text), ascii(text[:200]))
            found[library][outcome] += 1
    # Each difference is there, or it would excuse texts for nothing; and most texts agree.
    assert set(found["calculator"]) == {"", *(one.__name__ for one in CALCULATOR)}
    assert set(found["split"]) == {"", *(one.__name__ for one in SPLIT)}
    assert all(counter[""] > TEXTS * 0.6 for counter in found.values()), found


VECTORS = [
    ("a" * 152 + "€" + "a" * 20, "gsm7", [152, 22]),
    ("a" * 159 + "€", "gsm7", [153, 8]),
    ("a" * 160, "gsm7", [160]),
    ("a" * 161, "gsm7", [153, 8]),
    ("я" * 70, "ucs2", [70]),
    ("я" * 71, "ucs2", [67, 4]),
    ("я" * 66 + "😀" + "b" * 10, "ucs2", [66, 12]),
    ("日" * 64 + FAMILY + "日" * 10, "ucs2", [64, 21]),
]
"""All three agree, but for the last: split-sms tears the family."""


def test_vectors() -> None:
    answers = ask([text for text, _, _ in VECTORS])
    for (text, alphabet, parts), (calculator, split) in zip(VECTORS, answers, strict=True):
        assert ours(text) == (alphabet, parts)
        assert calculator[:2] == (alphabet, parts)
        assert split[:2] == (alphabet, [67, 18] if FAMILY in text else parts)
