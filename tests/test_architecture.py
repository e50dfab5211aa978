"""The structure of the code, walked as it stands: arrows between apps, purity of rules, and who may write rows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("controlplane", "rollout", "calls", "story")

# The roof may know everything, and nothing below imports it. Ground knows what lies under it only.
ROOF = tuple(
    f"controlplane.{name}"
    for name in ("api", "console", "host", "actions", "settings", "urls", "celery", "checks", "tasks", "wsgi", "beat")
)
DJANGO = ("django", "rest_framework")
INSIDE = {name: f"rollout.{name}" for name in ("models", "questions", "actions", "serving", "api", "console")}
# What each part must never import.
FORBIDDEN = {
    "controlplane/base": (
        *DJANGO, *ROOF, "controlplane.accounts", "controlplane.audit", "controlplane.outbox", "controlplane.rest",
        "rollout", "calls",
    ),
    "controlplane/audit": (
        *ROOF, "controlplane.accounts", "controlplane.outbox", "controlplane.rest", "rollout", "calls",
    ),
    "controlplane/outbox": (
        *ROOF, "controlplane.accounts", "controlplane.audit", "controlplane.rest", "rollout", "calls",
    ),
    "controlplane/accounts": (*ROOF, "controlplane.rest", "rollout", "calls"),
    "controlplane/rest": (*ROOF, "rollout", "calls"),
    "rollout": (*ROOF, "calls"),
    "rollout/rules": (*DJANGO, *INSIDE.values()),
    "rollout/models": tuple(INSIDE[name] for name in ("questions", "actions", "serving", "api", "console")),
    "rollout/questions": tuple(INSIDE[name] for name in ("actions", "api", "console")),
    "rollout/actions": (INSIDE["api"], INSIDE["console"]),
    "rollout/serving": (*DJANGO, *(INSIDE[name] for name in ("models", "questions", "actions", "api", "console"))),
    "calls": ROOF,
    "calls/rules": (*DJANGO, "calls.edge", "calls.models", "calls.actions", "rollout.serving", "rollout.models"),
    "calls/edge": (
        *DJANGO, *(INSIDE[name] for name in ("models", "questions", "actions", "api", "console")), "calls.models",
        "calls.actions", "controlplane.accounts.models", "controlplane.accounts.actions",
    ),
    "calls/phone": (*DJANGO, "rollout", "controlplane"),
    "story": (*DJANGO, "controlplane", "rollout", "calls"),
}  # fmt: skip
IMPURE_MODULES = ("django", "time", "random", "secrets", "os", "socket", "asyncio", "aiohttp", "redis", "psycopg")
IMPURE_CALLS = {"now", "today", "utcnow", "time", "time_ns", "monotonic", "random", "urandom", "token_bytes"}
WRITES = {"save", "delete", "create", "bulk_create", "bulk_update", "update_or_create", "get_or_create", "truncate"}
# Folders and files whose job is to write rows, apart from */actions*.
WRITERS = ("migrations", "actions", "actions.py", "record.py", "seal.py")
# Questions read, wherever they stand, and take no lock either.
LOCKS = {"select_for_update"}
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


def locks(path: Path) -> list[str]:
    return [
        f"{path}:{node.lineno} {node.func.attr}()"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOCKS
    ]


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


@pytest.mark.parametrize(
    "folder",
    [
        "rollout/rules",
        "calls/rules",
        "controlplane/accounts/rules",
        "controlplane/audit/rules",
        "controlplane/outbox/rules",
    ],
)
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


def test_questions__of_every_app__neither_write_nor_lock() -> None:
    paths = list(sources("rollout/questions"))
    assert paths

    assert [fault for path in paths for fault in (*writes(path), *locks(path))] == []


def test_floors__of_every_room__hold_a_handful_of_loose_files() -> None:
    """A floor is an application's or the project's own folder: what belongs together stands in a room below it."""
    crowded = {
        folder: sorted(names)
        for folder in ("controlplane", "rollout", "calls")
        if len(names := {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}) > 9
    }

    assert crowded == {}


def test_architecture_page__every_place_that_it_names__is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)+(?:\.(?:py|sql|md))?)`", page))
    assert len(named) > 15

    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_edge_process__when_started__loads_neither_django_nor_host() -> None:
    import subprocess
    import sys

    # A fresh interpreter, since this one has loaded Django for the other tests.
    never = ("django", "rest_framework", "controlplane.host", "rollout.models")
    code = f"import sys, calls.edge.app; print([m for m in {never} if m in sys.modules])"
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


BREACHES = {
    "controlplane/base": "import django.db",
    "controlplane/audit": "from controlplane.accounts.models import Subscriber",
    "controlplane/outbox": "from controlplane.console import views",
    "controlplane/accounts": "from controlplane.api import phones",
    "controlplane/rest": "from rollout.models import Grant",
    "rollout": "from calls.edge import app",
    "rollout/rules": "from rollout.models import Grant",
    "rollout/models": "from rollout.questions import overview",
    "rollout/questions": "from rollout.actions import grants",
    "rollout/actions": "from rollout.console import verbs",
    "rollout/serving": "from rollout.models import Feature",
    "calls": "from controlplane.settings import ENV",
    "calls/rules": "from calls.edge.tickets import Ticket",
    "calls/edge": "from rollout.actions.grants import revoke_grant",
    "calls/phone": "from controlplane.base import env",
    "story": "import calls.phone",
}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_arrow_check__given_a_planted_breach__finds_it(tmp_path: Path, folder: str) -> None:
    path = tmp_path / "planted.py"
    path.write_text(f"{BREACHES[folder]}\n")

    assert len(faults_against_arrows(folder, FORBIDDEN[folder], [path])) == 1


def test_lock_check__given_a_lock_in_a_question__finds_it(tmp_path: Path) -> None:
    path = tmp_path / "question.py"
    path.write_text("Grant.objects.select_for_update().get(id=1)\n")

    assert len(locks(path)) == 1


def test_write_check__given_a_write_at_an_edge__finds_it(tmp_path: Path) -> None:
    path = tmp_path / "view.py"
    path.write_text(
        "Grant.objects.create(x=1)\nGrant.objects.filter(x=1).update(y=2)\nrow.save()\nvalues.update(a=1)\n"
    )

    assert len(writes(path)) == 3
