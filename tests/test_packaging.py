"""What is installed: the distribution's metadata, the packages, the data."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path

from todoke.engine.campaign.recipients import read_recipients

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def requirements() -> dict[str, str]:
    """Every distribution named, with what is asked of it."""
    project = PYPROJECT["project"]
    lines = [
        *project["dependencies"],
        *(line for some in project["optional-dependencies"].values() for line in some),
    ]
    return {re.split(r"[\[<>=]", line)[0]: line for line in lines}


def test_every_requirement_has_a_lower_bound_or_a_version() -> None:
    assert [line for line in requirements().values() if ">=" not in line and "==" not in line] == []


def test_the_constraints_are_names_and_versions_and_hold_every_requirement() -> None:
    lines = (ROOT / ".ci" / "constraints.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", line)] == []
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert {name for name in requirements() if name not in pinned} == set()


def test_the_data_is_found_by_its_package() -> None:
    conf = files("todoke.conf")
    assert {"todoke.toml", "profiles.toml"} <= {path.name for path in conf.iterdir()}
    recipients = read_recipients((conf / "demo" / "recipients.csv").read_bytes())
    assert len(recipients.rows) + len(recipients.refused) == 1009
    assert len(recipients.refused) == 8, "the ninth wrong row is found by the node"
    assert recipients.encoding == "utf-8-sig"
    assert max(len(row.message.text or "") for row in recipients.rows if row.number != 907) <= 660


def test_the_licence_is_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
