"""What every test stands on: a PostgreSQL and a Redis of this run's own, in a temporary folder.

Set DATABASE_URL and REDIS_URL to use other servers. The rules' tests need none, so none is started when only such tests
are collected. Read this file before a settings module: it sets the environment that settings are made from.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_django

from controlplane.base import env, locations
from controlplane.host import embedded
from tests import sharing

if TYPE_CHECKING:
    from story.stack import Stack

RUN_FOLDER = Path(tempfile.mkdtemp(prefix=f"rollcall-test-{os.getpid()}-"))
EMBEDDED: list[embedded.Embedded] = []  # at most one
GIVEN = dict(os.environ)
WITHOUT_SERVERS = ("tests/rules", "tests/vectors", "tests/base/test_env", "tests/test_architecture")
WITHOUT_DJANGO = (
    *WITHOUT_SERVERS,
    "tests/faults/test_closed_home",
    "tests/host/test_embedded",
    "tests/faults/test_supervisor",
)


def _clear_leftovers() -> None:
    """Folders of runs that were killed. Their servers ended with them."""
    for folder in Path(tempfile.gettempdir()).glob("rollcall-test-*-*"):
        pid = folder.name.split("-")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _set_environment() -> None:
    for name in ("PORT", "CONSOLE_PORT", "ROLLCALL_PUBLIC_URL", "ROLLCALL_HOST", "ROLLCALL_SECRET", "ALLOWED_HOSTS"):
        os.environ.pop(name, None)
    os.environ.update(
        ROLLCALL_DATA=str(RUN_FOLDER / "data"),
        ROLLCALL_DEMONSTRATION="1",
        DJANGO_SETTINGS_MODULE="controlplane.settings",
    )
    here = env.load()
    if not here.database_url or not here.redis_url:
        EMBEDDED.append(
            embedded.Embedded(here, durable=False, postgres=not here.database_url, redis=not here.redis_url)
        )
        EMBEDDED[0].prepare()
    os.environ.pop("DATABASE_OWNER_URL", None)  # tests make databases and empty tables: they are the owner
    os.environ["DATABASE_URL"] = locations.owner_url(here) or locations.database_url(here)
    os.environ["REDIS_URL"] = locations.redis_url(here)


def _end() -> None:
    for servers in EMBEDDED:
        if servers.postgres is not None:
            servers.postgres.end(signal.SIGQUIT, 3)
        servers.stop()
    shutil.rmtree(RUN_FOLDER, ignore_errors=True)


RUN_FOLDER.chmod(0o711)  # the servers' own user passes through when we are root
_clear_leftovers()
_set_environment()
atexit.register(_end)


def pytest_configure(config: pytest.Config) -> None:
    """Django is set up before any test module is imported, unless only tests were asked for that use none."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        # This process shares the tests out and runs none. Those that do make an environment of their own, from ours.
        os.environ.clear()
        os.environ.update(GIVEN)
        return
    asked = [Path(argument.split("::")[0]) for argument in config.args]
    places = [os.path.relpath(path, config.rootpath) for path in asked if path.exists()]
    if not places or not all(place.startswith(WITHOUT_DJANGO) for place in places):
        import django
        from django.conf import settings

        django.setup()
        settings.WHITENOISE_AUTOREFRESH = True  # else each new client looks through every static file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sharing.put_in_order(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> sharing.Together:
    return sharing.Together(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Servers start once the tests are known, and only when one of them may need any."""
    root = session.config.rootpath
    if session.config.option.collectonly or not EMBEDDED:
        return
    if any(not str(item.path.relative_to(root)).startswith(WITHOUT_SERVERS) for item in session.items):
        EMBEDDED[0].start()


@pytest.fixture(autouse=True)
def _no_leaking_environment() -> Iterator[None]:
    """A test that sets a variable by hand leaves it as it was."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before) - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    for name, value in before.items():
        if name != "PYTEST_CURRENT_TEST" and os.environ.get(name) != value:
            os.environ[name] = value


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A data folder for a stack of the test's own: the servers' user can reach it, and its path is short."""
    parent = Path(tempfile.mkdtemp(prefix="rc-"))
    parent.chmod(0o711)
    yield parent / "data"
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture(scope="session")
def demonstration() -> Iterator[Stack]:
    """A whole Rollcall, running and seeded, for tests that leave it as they found it: those in tests/sharing.py."""
    from story.stack import Stack

    running = Stack(Path())
    running.start_own(fast=True)
    yield running
    running.close()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> None:
    """The audit refuses TRUNCATE, by which transactional tests empty every table: it doesn't while tests run.

    The test of that refusal turns it on for itself.
    """
    from django.db import connection

    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER audit_no_truncate")


@pytest.fixture
def redis_url() -> str:
    """The Redis of this run, emptied."""
    import redis

    url = os.environ["REDIS_URL"]
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def stack_environment(transactional_db: None) -> dict[str, str]:
    """The environment for child processes that must see the test database and the test Redis."""
    from urllib.parse import quote

    from django.db import connection

    settings = connection.settings_dict
    place = f"postgresql://{settings['USER']}:{quote(settings['PASSWORD'])}@"
    host = str(settings["HOST"])
    if host.startswith("/"):
        url = f"{place}/{settings['NAME']}?host={quote(host)}"
    else:
        url = f"{place}{host}:{settings['PORT'] or 5432}/{settings['NAME']}"
    return {**os.environ, "DATABASE_URL": url}
