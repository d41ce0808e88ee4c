"""What keeps the house in order: who imports whom, what stays pure, what is packaged, what no file says."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("codecs", "engine", "bench", "conf")
MODULE_LINES_PROMPT = 400
MODULE_LINES_MAX = 1_000
"""A module is asked about from the first on (pytest -rP shows them), and split before the second."""
FUNCTION_LINES_PROMPT = 70
FUNCTION_LINES_MAX = 110

MAY_IMPORT = {
    "codecs": {"codecs"},
    "engine": {"codecs", "engine"},
    "bench": {"codecs", "engine", "bench"},
    "conf": set[str](),
}
IMPURE = {
    "anyio",
    "asyncio",
    "trio",
    "redis",
    "socket",
    "time",
    "random",
    "logging",
    "subprocess",
    "threading",
    "os",
}
PURE = [
    "codecs",
    "engine/campaign",
    "engine/carrier_rules.py",
    "engine/config_errors.py",
    "engine/errors.py",
    "engine/messages.py",
    "engine/dispatch/breaker.py",
    "engine/dispatch/cancellations.py",
    "engine/dispatch/claims.py",
    "engine/dispatch/destinations.py",
    "engine/dispatch/failover.py",
    "engine/dispatch/grants.py",
    "engine/dispatch/hours.py",
    "engine/dispatch/inbox.py",
    "engine/dispatch/pacing.py",
    "engine/dispatch/portability.py",
    "engine/dispatch/prepare.py",
    "engine/dispatch/receipt_failure.py",
    "engine/dispatch/retry.py",
    "engine/dispatch/router.py",
    "engine/dispatch/send_window.py",
    "engine/intake/validate.py",
    "engine/ledger/blocks.py",
    "engine/ledger/keys.py",
    "engine/ledger/port.py",
    "engine/receipts/fields.py",
    "engine/session/session.py",
    "engine/session/window.py",
]
"""Files and folders that compute and do nothing else."""


def modules(*under: str) -> list[Path]:
    found: list[Path] = []
    for name in under or FOLDERS:
        path = ROOT / name
        found += [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))
    return found


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[int, str, bool]]:
    """(line, absolute module name, at import time) of every import in a file, those for types included."""
    package = ["todoke", *path.relative_to(ROOT).parent.parts]
    top = tree(path)
    inside = {
        id(inner)
        for outer in ast.walk(top)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(top):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) not in inside
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *((node.module or "").split("."))]).rstrip(".")
            if node.module is None:
                for alias in node.names:
                    yield node.lineno, f"{name}.{alias.name}", id(node) not in inside
            else:
                yield node.lineno, name, id(node) not in inside


def test_imports_run_one_way() -> None:
    wrong: list[str] = []
    for path in modules():
        folder = path.relative_to(ROOT).parts[0]
        is_cli = path.is_relative_to(ROOT / "engine" / "cli")
        for line, name, at_import in imports(path):
            parts = name.split(".")
            if parts[0] in ("engine", "bench", "conf"):
                wrong.append(
                    f"{path}:{line}: {name}: the bare name makes a second copy; import todoke.{name}"
                )
            if parts[0] != "todoke" or len(parts) < 2:
                continue
            lazily_from_cli = is_cli and not at_import and parts[1] == "bench"
            if parts[1] not in MAY_IMPORT[folder] and not lazily_from_cli:
                wrong.append(f"{path}:{line}: {folder} imports {name}")
    assert wrong == []


def test_nothing_but_app_and_cli_imports_the_app_and_the_cli() -> None:
    wrong = [
        f"{path}:{line}: {name}"
        for path in modules("engine")
        for line, name, _ in imports(path)
        if f"{name}.".startswith("todoke.engine.cli.") and not path.is_relative_to(ROOT / "engine" / "cli")
    ]
    assert wrong == []


@pytest.mark.parametrize("place", PURE)
def test_pure_files_stay_pure(place: str) -> None:
    paths = modules(place)
    assert paths, f"{place} does not exist"
    wrong = [
        f"{path}:{line}: {name}"
        for path in paths
        for line, name, _ in imports(path)
        if name.split(".")[0] in IMPURE
    ]
    assert wrong == []


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_folder_is_packaged() -> None:
    folders = {
        "todoke." + ".".join(path.relative_to(ROOT).parts)
        for name in FOLDERS
        for path in [ROOT / name, *(ROOT / name).rglob("*")]
        if path.is_dir() and any(path.glob("*.py")) and "__pycache__" not in path.parts
        if not path.is_relative_to(ROOT / "conf" / "demo")
    }
    listed = pyproject()["tool"]["setuptools"]["packages"]
    assert sorted(listed) == listed
    assert set(listed) == folders | {"todoke.conf"}


def test_the_mapped_folders_are_namespace_packages_with_types() -> None:
    assert [str(path) for name in FOLDERS for path in (ROOT / name).rglob("__init__.py")] == []
    assert [name for name in FOLDERS if not (ROOT / name / "py.typed").is_file()] == []


def test_tests_have_no_packages() -> None:
    assert [str(path) for path in (ROOT / "tests").rglob("__init__.py")] == []


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def test_modules_and_what_they_offer_say_what_they_are() -> None:
    wrong: list[str] = []
    for path in modules():
        top = tree(path)
        if not ast.get_docstring(top):
            wrong.append(f"{path.relative_to(ROOT)}: no module docstring")
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
            for node in top.body
            if isinstance(node, Definition) and not node.name.startswith("_") and not ast.get_docstring(node)
        ]
    assert not wrong, "\n".join(wrong)


def test_broad_excepts_lose_nothing() -> None:
    """`except Exception` stands only at a task's edge, and the error is raised again, logged or handed on."""
    wrong: list[str] = []
    for path in modules("codecs", "engine"):
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            named = isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            if (node.type is None or named) and not any(
                isinstance(inner, ast.Raise)
                or (isinstance(inner, ast.Attribute) and inner.attr in ("exception", "critical"))
                or (isinstance(inner, ast.Name) and inner.id == node.name)
                for inner in ast.walk(node)
            ):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []


def files() -> list[Path]:
    """Every text file that is in the repository's folders."""
    names = ["README.md", "CHANGELOG.md", "pyproject.toml", ".gitignore", *FOLDERS, "tests", ".ci"]
    found = [ROOT / name for name in names if (ROOT / name).is_file()]
    for name in names:
        found += [
            path for path in (ROOT / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        ]
    return found


MACHINE = re.compile(
    r"/(?:home|Users|root|opt|srv|mnt|work)/\w+"  # somebody's folders
    r"|https?://(?!(?:www\.apache\.org|docs\.python\.org)\b)[\w.-]+\.(?:internal|local|lan|corp)\b"
    r"|\b(?:10|172\.(?:1[6-9]|2\d|3[01])|192\.168)(?:\.\d{1,3}){2,3}\b"
    r"|--(?:extra-)?index-url|PIP_(?:EXTRA_)?INDEX_URL"
)


def test_no_file_names_a_machine() -> None:
    wrong: list[str] = []
    for path in files():
        if path.suffix in (".csv", ".png") or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if found := MACHINE.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {found[0]}")
    assert wrong == []


def test_sizes_are_thought_about() -> None:
    modules_found = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in modules()
    }
    functions_found = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for name, lines in modules_found.items():
        if lines > MODULE_LINES_PROMPT:
            print(f"think: {name} has {lines} lines")
    for name, lines in functions_found.items():
        if lines > FUNCTION_LINES_PROMPT:
            print(f"think: {name} has {lines} lines")
    assert {name: lines for name, lines in modules_found.items() if lines > MODULE_LINES_MAX} == {}
    assert {name: lines for name, lines in functions_found.items() if lines > FUNCTION_LINES_MAX} == {}
