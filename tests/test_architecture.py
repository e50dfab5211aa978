"""The structure of the code, walked as it stands: arrows between apps, purity of rules, and who may write rows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("controlplane", "rollout", "calls", "story")

# What each part must never import. `controlplane` itself is the composition root and may import everything.
FORBIDDEN = {
    "controlplane/audit": ("controlplane.accounts", "controlplane.outbox", "controlplane.console", "rollout", "calls"),
    "controlplane/outbox": ("controlplane.accounts", "controlplane.console", "rollout", "calls"),
    "controlplane/accounts": ("controlplane.console", "controlplane.api", "rollout", "calls"),
    "rollout": ("calls",),
    "story": ("controlplane", "rollout", "calls", "django"),
    "calls/edge": ("django", "rest_framework"),
    "calls/phone": ("django", "rest_framework", "rollout"),
}
IMPURE_MODULES = ("django", "time", "random", "secrets", "os", "socket", "asyncio", "aiohttp", "redis", "psycopg")
IMPURE_CALLS = {"now", "today", "utcnow", "time", "time_ns", "monotonic", "random", "urandom", "token_bytes"}
WRITES = {"save", "delete", "create", "bulk_create", "bulk_update", "update_or_create", "get_or_create", "truncate"}
# Folders and files whose job is to write rows, apart from */actions*.
WRITERS = ("migrations", "actions", "actions.py", "record.py", "seal.py")
FORBIDDEN_NAMES = {"services", "selectors", "helpers", "utils", "mappers", "constants", "signals", "repositories"}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def reaches(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def faults_against_arrows(folder: str, forbidden: tuple[str, ...], paths: list[Path]) -> list[str]:
    return [
        f"{path}:{line} imports {name}, which {folder} must not know"
        for path in paths
        for line, name in imports(path)
        if any(reaches(name, module) for module in forbidden)
    ]


def impurities(path: Path) -> list[str]:
    faults = [
        f"{path}:{line} imports {name}" for line, name in imports(path) if any(reaches(name, m) for m in IMPURE_MODULES)
    ]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in IMPURE_CALLS or ast.unparse(node.func) == "open":
                faults.append(f"{path}:{node.lineno} calls {called}()")
    return faults


def writes(path: Path) -> list[str]:
    """Calls that write rows: a manager's or query's write verb, or a row's save."""
    faults = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            verb, owner = node.func.attr, ast.unparse(node.func.value)
            if verb == "save" or (verb in WRITES | {"update"} and ".objects" in owner):
                faults.append(f"{path}:{node.lineno} {owner}.{verb}()")
    return faults


@pytest.mark.parametrize(("folder", "forbidden"), FORBIDDEN.items())
def test_arrows__every_import__points_inward(folder: str, forbidden: tuple[str, ...]) -> None:
    paths = list(sources(folder))
    assert paths, f"{folder} holds no code, so this check would prove nothing"

    assert faults_against_arrows(folder, forbidden, paths) == []


@pytest.mark.parametrize("folder", ["rollout/rules", "calls/rules", "controlplane/accounts/rules"])
def test_rules__every_file__is_pure(folder: str) -> None:
    paths = list(sources(folder))
    assert len(paths) > 1, f"{folder} holds no rule"

    assert [fault for path in paths for fault in impurities(path)] == []


def test_rows__are_written__only_in_actions() -> None:
    edges = [
        path
        for path in sources("controlplane", "rollout", "calls")
        # A phone keeps files of its own, and reaches no database.
        if not any(part in (*WRITERS, "phone") for part in path.relative_to(ROOT).parts)
    ]

    assert [fault for path in edges for fault in writes(path)] == []


def test_edge_process__when_started__loads_neither_orm_nor_drf() -> None:
    import subprocess
    import sys

    # A fresh interpreter, since this one has loaded Django for the other tests.
    code = "import sys, calls.edge.app; print([m for m in ('django', 'rest_framework') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_modules__are_named__after_things() -> None:
    misnamed = [path for path in sources(*APPS) if path.stem in FORBIDDEN_NAMES]

    assert misnamed == []


def test_files__keep_to__four_hundred_lines() -> None:
    long = [
        f"{path}: {count} lines"
        for path in sources(*APPS)
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 400
    ]

    assert long == []


def test_functions__keep_to__sixty_lines() -> None:
    long = [
        f"{path}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in sources(*APPS)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > 60
    ]

    assert long == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import django.db\n", True),
        ("from datetime import datetime\ndatetime.now()\n", True),
        ("import random\n", True),
        ("from datetime import datetime\n\n\ndef f(now: datetime) -> datetime:\n    return now\n", False),
    ],
)
def test_purity_check__given_a_fault__finds_it(tmp_path: Path, source: str, fault: bool) -> None:
    path = tmp_path / "rule.py"
    path.write_text(source)

    assert bool(impurities(path)) is fault


def test_arrow_check__given_a_forbidden_import__finds_it(tmp_path: Path) -> None:
    path = tmp_path / "wave.py"
    path.write_text("from calls.edge import app\n")

    assert len(faults_against_arrows("rollout", ("calls",), [path])) == 1


def test_write_check__given_a_write_at_an_edge__finds_it(tmp_path: Path) -> None:
    path = tmp_path / "view.py"
    path.write_text(
        "Grant.objects.create(x=1)\nGrant.objects.filter(x=1).update(y=2)\nrow.save()\nvalues.update(a=1)\n"
    )

    assert len(writes(path)) == 3
