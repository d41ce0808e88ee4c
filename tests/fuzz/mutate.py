"""Change one module of the codecs in one small way after another, and see whether its tests notice.

Mutants inside functions run in a fork of one pytest that has collected everything: the function's code is
replaced, and the tests that pass through it are run until one fails. Mutants of what a module does when it
is imported, and those that survived so, run in a fork that imports and collects afresh. Nothing but Python's
caches is written to the tree. Exit status: 0 all noticed, 1 survivors, 2 wrong use.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import gc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import hypothesis
import pytest
from todoke_fuzz.mutations import Mutant, mutants

EXAMPLES = """
examples:
  python tests/fuzz/mutate.py codecs/framing.py
  python tests/fuzz/mutate.py codecs/pdu.py --tests tests/codecs/test_pdu.py tests/codecs/test_garbage.py
  python tests/fuzz/mutate.py codecs/*.py --json survivors.jsonl        the whole package, module by module
  python tests/fuzz/mutate.py codecs/udh.py --lines 90-120
"""
ROOT = Path(__file__).resolve().parents[2]
SECONDS_MIN = 5.0
SLOWNESS_MAX = 8.0
"""A mutant that takes so many times as long as the tests alone, and SECONDS_MIN, goes round for ever."""
MEMORY_BYTES_MAX = 3 << 30
WALL_FACTOR = 10
SURVIVED, NOTICED, STARTED_WRONG, FIRST_TEST = 0, 1, 3, 10
PYTEST = ["-x", "-p", "no:cacheprovider", "-p", "no:terminal", "-o", "timeout=0",
          "-o", "addopts=--import-mode=importlib",
          "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # fmt: skip


# --- one change at a time -----------------------------------------------------------------------------------


def wait(work: Callable[[], int], cpu_seconds: float) -> int:
    """The exit status of `work` in a fork; NOTICED if it dies or takes too long."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        status = NOTICED
        try:
            # Processor time, because the machine may be busy with something else.
            limit = int(cpu_seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
            silence = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silence, stream)
            status = work()
        finally:
            os._exit(status)
    deadline = time.monotonic() + WALL_FACTOR * cpu_seconds
    pause = 0.002
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else NOTICED
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return NOTICED


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and all inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def functions_of(filename: str) -> list[FunctionType]:
    """Every function that there is of a file."""
    found = [function for function in gc.get_objects() if isinstance(function, FunctionType)]
    return [function for function in found if function.__code__.co_filename == filename]


def new_codes(
    mutant: Mutant, filename: str, functions: list[FunctionType]
) -> list[tuple[FunctionType, CodeType]] | None:
    """What to give to every function made from the mutated one; None if that cannot be done (a function that
    is not there, or a code with other variables of the functions around it).
    """
    assert mutant.function is not None
    name, first = mutant.function
    new: dict[tuple[str, int], CodeType] = {}
    for outer in codes(compile(mutant.tree(whole=False), filename, "exec")):
        if outer.co_name == name and outer.co_firstlineno == first:
            new |= {(code.co_qualname, code.co_firstlineno): code for code in codes(outer)}
    found: list[tuple[FunctionType, CodeType]] = []
    for function in functions:
        code = new.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None:
            if code.co_freevars != function.__code__.co_freevars:
                return None
            found.append((function, code))
    return found or None


def is_private_table(mutant: Mutant) -> bool:
    """An assignment to a name that nobody but the module itself has taken hold of."""
    statement = mutant.module.body[mutant.statement]
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or isinstance(mutant.new, ast.Pass):
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return all(isinstance(target, ast.Name) and target.id.startswith("_") for target in targets)


def assign_again(mutant: Mutant, module: ModuleType) -> None:
    """Carry out the mutated assignment and those behind it, which may have used its name."""
    rest = mutant.tree().body[mutant.statement :]
    again = ast.Module([one for one in rest if isinstance(one, ast.Assign | ast.AnnAssign)], [])
    exec(compile(again, module.__file__ or "", "exec"), vars(module))


class Mutated(importlib.machinery.SourceFileLoader):
    """Loads the module with the mutant's tree in place of its source."""

    tree: ast.Module

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.tree, self.path, "exec")


class Finder:
    """Answers for the one module."""

    def __init__(self, name: str, filename: str, tree: ast.Module) -> None:
        self.name, self.filename, self.tree = name, filename, tree

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> Any:
        if name != self.name:
            return None
        loader = Mutated(name, self.filename)
        loader.tree = self.tree
        return importlib.util.spec_from_file_location(name, self.filename, loader=loader)


def afresh(module: str, filename: str, mutant: Mutant, tests: list[str]) -> int:
    """Import and collect with the mutant in place; the status tells whether a test failed."""
    sys.meta_path.insert(0, Finder(module, filename, mutant.tree()))
    return SURVIVED if pytest.main([*PYTEST, *tests], plugins=[Quick()]) == 0 else NOTICED


def preload(tests: list[str]) -> None:
    """Import here what the tests need of others, so that no fork does it again."""
    told = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed below; the fork writes into it

    def collect() -> int:
        pytest.main([*PYTEST, "--collect-only", *tests], plugins=[Quick()])
        files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
        names = [name for name, file in files.items() if f"{os.sep}site-packages{os.sep}" in file]
        told.write("\n".join(name for name in names if not name.startswith("todoke")))
        told.flush()
        return 0

    wait(collect, 600)
    told.seek(0)
    for name in told.read().split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    told.close()


# --- the collected tests ------------------------------------------------------------------------------------


class Quick:
    """Hypothesis without shrinking, examples kept or chance: the same verdict each time."""

    def pytest_configure(self) -> None:
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        checks = list(hypothesis.HealthCheck)
        hypothesis.settings.register_profile(
            "mutation",
            phases=phases,
            database=None,
            derandomize=True,
            deadline=None,
            suppress_health_check=checks,
        )
        hypothesis.settings.load_profile("mutation")


class Loop(Quick):
    """In place of pytest's loop: what each test passes through, then the mutants, each in a fork."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.at_import = entered(run.filename)
        self.imported = self.at_import.__enter__()  # now, for conftest.py may already import the module

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.at_import.__exit__(None, None, None)
        items = session.items
        covered: list[set[tuple[str, int]]] = []
        seconds: list[float] = []
        for item in items:
            started = time.process_time()
            with entered(self.run.filename) as functions:
                failed = run_items(session, [item])
            seconds.append(time.process_time() - started)
            covered.append(functions)
            if failed:
                print(f"{item.nodeid} fails without any mutant", flush=True)
                os._exit(STARTED_WRONG)
        order = sorted(range(len(items)), key=lambda index: seconds[index])
        kills = [0] * len(items)
        gc.collect()
        functions = functions_of(self.run.filename)
        kept = [one for one in gc.get_objects() if isinstance(one, functools._lru_cache_wrapper)]
        caches = [one for one in kept if one.__module__ == self.run.name]
        gc.freeze()  # what is here now is not looked at again in each fork
        for number, mutant in enumerate(self.run.mutants):
            function = mutant.function
            new = new_codes(mutant, self.run.filename, functions) if function else []
            if new is None or (function is None and not is_private_table(mutant)):
                self.run.tell(number, "again")
                continue
            through = [index for index in order if function is None or function in covered[index]]
            through.sort(key=lambda index: -kills[index])
            limit = max(SECONDS_MIN, SLOWNESS_MAX * sum(seconds[index] for index in through))

            def work(mutant: Mutant = mutant, through: list[int] = through, new: Any = new) -> int:
                if mutant.function is None:
                    assign_again(mutant, sys.modules[self.run.name])
                for one, code in new:
                    one.__code__ = code
                for cache in caches:
                    cache.cache_clear()  # what the unchanged function gave
                for index in through:
                    if run_items(session, [items[index]]):
                        return FIRST_TEST + min(index, 200)
                return SURVIVED

            status = wait(work, limit)
            if status >= FIRST_TEST:
                kills[min(status - FIRST_TEST, len(items) - 1)] += 1
            if status == SURVIVED:
                # A table whose module calls nothing of its own at import is only looked into later.
                at_import = bool(self.imported) if function is None else function in self.imported
                self.run.tell(number, "again" if at_import else "survived")
        return True


def run_items(session: pytest.Session, items: list[pytest.Item]) -> bool:
    """Whether one of them fails."""
    before = session.testsfailed
    for item in items:
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
    return session.testsfailed > before


@contextlib.contextmanager
def entered(filename: str) -> Iterator[set[tuple[str, int]]]:
    """The functions of a file that are entered meanwhile: (name, first line)."""
    functions: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if (
            code.co_filename == filename and code.co_flags & inspect.CO_OPTIMIZED
        ):  # no module's or class's body
            functions.add((code.co_name, code.co_firstlineno))

    sys.settrace(trace)
    try:
        yield functions
    finally:
        sys.settrace(None)


# --- one module ---------------------------------------------------------------------------------------------


TESTED_BY = {
    "constants": ("tables", "errors", "pdu"),
    "cuts": ("cuts", "segment"),
    "describe": ("describe", "descriptions"),
    "describe_text": ("describe", "descriptions"),
    "describe_tlvs": ("describe", "descriptions"),
    "fields": ("pdu",),
    "gsm7": ("gsm7", "national"),
    "meanings": ("tables", "describe", "descriptions"),
    "names": ("tables", "describe"),
    "national_tables": ("tables", "national"),
    "reassembly": ("tables", "reassembly"),
    "rows": ("describe", "rows"),
    "segment": ("tables", "segment"),
    "sniff": ("tables", "sniff"),
    "structs": ("pdu",),
    "transliterate": ("tables", "transliterate"),
    "versions": ("tables", "versions"),
}
"""Modules whose tests have another name."""


def own_tests(path: Path) -> list[str]:
    """The files of a module's tests: test_NAME.py and what is named after it, test_NAME_more.py."""
    folder = ROOT / "tests" / path.resolve().parent.relative_to(ROOT)
    names = TESTED_BY.get(path.stem, (path.stem,))
    return [str(file) for name in names for file in sorted(folder.glob(f"test_{name}*.py"))]


class Run:
    """One module, its mutants, and what became of them."""

    def __init__(self, path: Path, tests: list[str], texts: bool, lines: range | None) -> None:
        self.name = "todoke." + ".".join(path.resolve().relative_to(ROOT).with_suffix("").parts)
        spec = importlib.util.find_spec(self.name)
        if spec is None or spec.origin is None:
            raise SystemExit(f"{self.name} cannot be imported: install the package first")
        self.path = path
        self.filename = spec.origin
        self.tests = tests or own_tests(path)
        found = mutants(Path(self.filename).read_text("utf-8"), texts=texts)
        self.mutants = [mutant for mutant in found if lines is None or mutant.line in lines]
        self.pipe = -1

    def tell(self, number: int, what: str) -> None:
        """From the fork: this mutant "survived", or has to be seen "again" with an import of its own."""
        os.write(self.pipe, f"{number} {what}\n".encode())

    def survivors(self) -> list[Mutant]:
        preload(self.tests)
        started = time.monotonic()
        if wait(lambda: pytest.main([*PYTEST, *self.tests], plugins=[Quick()]), 600) != SURVIVED:
            raise SystemExit(f"{' '.join(self.tests)}: fail without any mutant")
        limit = max(SECONDS_MIN, SLOWNESS_MAX * (time.monotonic() - started))
        left: list[Mutant] = []
        told = self._in_one_pytest()
        print(f"{self.path}: {len(self.mutants)} mutants, {time.monotonic() - started:.0f} s, "
              f"{sum(what == 'again' for _, what in told)} to be imported afresh", flush=True)  # fmt: skip
        for number, what in told:
            mutant = self.mutants[number]
            test = partial(afresh, self.name, self.filename, mutant, self.tests)
            if what == "survived" or wait(test, limit) == SURVIVED:
                left.append(mutant)
        return left

    def _in_one_pytest(self) -> list[tuple[int, str]]:
        """What the fork with all tests collected told."""
        reading, self.pipe = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            status = STARTED_WRONG
            try:
                status = int(pytest.main([*PYTEST, *self.tests], plugins=[Loop(self)]))
            finally:
                os._exit(status)
        os.close(self.pipe)
        with os.fdopen(reading) as told:
            found = [(int(line.split()[0]), line.split()[1]) for line in told]
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) not in (0, 5):
            raise SystemExit("the tests could not be run")
        return found


def cpu_seconds() -> float:
    """Of this process and all that it has waited for."""
    return sum(os.times()[:4])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="mutate.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("modules", nargs="+", type=Path, metavar="FILE", help="codecs/framing.py ...")
    parser.add_argument(
        "--tests", nargs="+", metavar="FILE", help="its tests (default: tests/codecs/test_NAME*.py)"
    )
    parser.add_argument("--lines", metavar="A-B", help="only mutants of these lines")
    parser.add_argument("--texts", action="store_true", help="mutate the words of error messages too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add each survivor as a line of JSON")
    options = parser.parse_args()
    lines = None
    if options.lines:
        first, _, last = options.lines.partition("-")
        lines = range(int(first), int(last or first) + 1)
    total = 0
    for path in options.modules:
        run = Run(path, options.tests or [], options.texts, lines)
        if not run.tests:
            print(f"{path}: no tests of its own: give --tests")
            total += 1
            continue
        started, cpu = time.monotonic(), cpu_seconds()
        left = run.survivors()
        seconds, cpu = time.monotonic() - started, cpu_seconds() - cpu
        print(f"{path}: {len(run.mutants)} mutants, {len(left)} survived, {seconds:.0f} s, "
              f"{len(run.mutants) / cpu:.1f} in a second of processor time", flush=True)  # fmt: skip
        for mutant in left:
            print(f"  {path}:{mutant.line}: {mutant.kind}: {mutant.before}  ->  {mutant.after}", flush=True)
            if options.json:
                with options.json.open("a") as out:
                    row = {"file": str(path), "line": mutant.line, "kind": mutant.kind}
                    out.write(json.dumps(row | {"before": mutant.before, "after": mutant.after}) + "\n")
        total += len(left)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
