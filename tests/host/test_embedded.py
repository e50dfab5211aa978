"""The embedded PostgreSQL and Redis: real, local, private, and in step with the process that started them."""

from __future__ import annotations

import dataclasses
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from controlplane.base import env, locations
from controlplane.host import child, embedded, server
from controlplane.host.child import Account, StartTrouble
from controlplane.host.cluster import PATIENCE

STARTER = """
import sys, time
from controlplane.host import embedded
from controlplane.base import env
servers = embedded.Embedded(env.load(), durable=False)
servers.start()
print(servers.postgres.process.pid, servers.redis.process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def settings(data_folder: Path) -> env.Env:
    return env.load({"ROLLCALL_DATA": str(data_folder), "ROLLCALL_SECRET": secrets.token_hex(32)})


@pytest.fixture
def servers(settings: env.Env) -> Iterator[embedded.Embedded]:
    found = embedded.Embedded(settings, durable=False)
    yield found
    found.stop()


def start(settings: env.Env) -> embedded.Embedded:
    found = embedded.Embedded(settings, durable=False)
    found.start()
    return found


def started_elsewhere(settings: env.Env) -> tuple[subprocess.Popen[str], list[int]]:
    """Another process that starts the servers, and their numbers."""
    environment = {**os.environ, "ROLLCALL_DATA": str(settings.data), "ROLLCALL_SECRET": settings.secret.hex()}
    for name in ("DATABASE_URL", "REDIS_URL"):
        environment.pop(name, None)
    other = subprocess.Popen(
        [sys.executable, "-c", STARTER], cwd=env.ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    return other, [int(word) for word in other.stdout.readline().split()]


def lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_embedded__started__both_answer_by_password_over_sockets(settings: env.Env, servers: embedded.Embedded) -> None:
    servers.start()

    with psycopg.connect(locations.database_url(settings)) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SELECT current_user, current_database()").fetchone() == ("rollcall", "rollcall")
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'rollcall'").fetchone() == (False,)
    with redis.Redis.from_url(locations.redis_url(settings)) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("port") == {"port": "0"}


def test_embedded__wrong_password__both_refuse(settings: env.Env, servers: embedded.Embedded) -> None:
    servers.start()
    stranger = dataclasses.replace(settings, secret=bytes(32))

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(locations.database_url(stranger))
    with redis.Redis.from_url(locations.redis_url(stranger)) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_embedded__started__folders_are_private(settings: env.Env, servers: embedded.Embedded) -> None:
    servers.start()

    for name in ("", "pg", "redis", "s", "run", "state"):
        assert (settings.data / name).stat().st_mode & 0o007 == 0, name
    for name in ("pg", "redis", "run", "state"):
        assert (settings.data / name).stat().st_mode & 0o777 == 0o700, name
    assert (settings.data / "redis" / "redis.conf").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the servers as somebody else")
def test_embedded__started_as_root__the_servers_user_replaces_nothing_of_root(
    settings: env.Env, servers: embedded.Embedded
) -> None:
    (settings.state / "phones").mkdir(parents=True)
    (settings.state / "phones" / "keys").touch()  # by a command of root, before
    servers.start()
    (settings.data / "s" / "control.sock").touch()

    def attempt(code: str) -> str:
        return server.run_once(["/bin/sh", "-c", code], servers.account, settings.data)[1]

    assert "denied" in attempt("touch planted")
    assert "denied" in attempt("mv redis other")
    assert "not permitted" in attempt("mv s/control.sock s/other")
    assert "denied" in attempt("touch run/planted")
    assert attempt("touch s/mine; echo mine > state/phones/keys; touch state/ruleset.snapshot") == ""


def test_embedded__stopped_and_started__keeps_rows(settings: env.Env, servers: embedded.Embedded) -> None:
    servers.start()
    with psycopg.connect(locations.owner_url(settings) or "") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    servers.stop()

    servers.start()

    with psycopg.connect(locations.owner_url(settings) or "") as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (7,)


def test_embedded__starter_killed__servers_end_and_next_start_works(settings: env.Env) -> None:
    other, pids = started_elsewhere(settings)
    assert len(pids) == 2

    other.kill()
    other.wait()
    again = start(settings)  # at once, while the old PostgreSQL may still be dying

    try:
        with psycopg.connect(locations.database_url(settings)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert not any(lives(pid) for pid in pids)
    finally:
        again.stop()


def test_embedded__stale_pid_of_a_stranger__is_cleared(settings: env.Env, servers: embedded.Embedded) -> None:
    servers.start()
    servers.stop()
    stale = settings.data / "pg" / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{settings.data}/pg\n0\n5432\n\n\n\nready\n")

    servers.start()

    with psycopg.connect(locations.database_url(settings)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_embedded__cluster_in_use__says_by_whom(settings: env.Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.host.cluster.PATIENCE", 0.3)
    assert PATIENCE >= 10
    other, pids = started_elsewhere(settings)

    try:
        with pytest.raises(StartTrouble, match=f"process {pids[0]}") as refused:
            start(settings)
    finally:
        other.kill()
        other.wait()
    assert refused.value.code == "cluster_in_use"


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        ("rm pg/PG_VERSION", "damaged", "set it aside"),
        ("rm pg/global/pg_control", "damaged", "PostgreSQL says"),
        ("echo 15 > pg/PG_VERSION", "cluster_version", "is of PostgreSQL 15"),
        ("echo deadbeef > pg/rollcall.secret", "secret_changed", "another master secret"),
        ("rm pg/rollcall.roles", "cluster_version", "of an early Rollcall"),
        ("rm -r pg; touch pg", "damaged", "is damaged"),
    ],
)
def test_embedded__damaged_folder__says_what_to_do_and_leaves_nothing_running(
    settings: env.Env, servers: embedded.Embedded, damage: str, code: str, words: str
) -> None:
    servers.start()
    servers.stop()
    subprocess.run(damage, shell=True, cwd=settings.data, check=True)

    with pytest.raises(StartTrouble, match=words) as refused:
        servers.start()

    assert refused.value.code == code
    assert servers.postgres is None
    assert servers.redis is None


def test_embedded__first_start_interrupted__starts_afresh(settings: env.Env, servers: embedded.Embedded) -> None:
    half = settings.data / "pg.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")

    servers.start()

    assert not half.exists()


def test_embedded__long_path__sockets_in_private_temporary_folder(data_folder: Path) -> None:
    data = data_folder / ("long" * 20)
    data_folder.mkdir(mode=0o711)
    settings = env.load({"ROLLCALL_DATA": str(data)})

    servers = start(settings)

    try:
        folder = locations.socket_folder(data)
        assert data not in folder.parents
        assert folder.stat().st_mode & 0o007 == 0
        with psycopg.connect(locations.database_url(settings)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with redis.Redis.from_url(locations.redis_url(settings)) as client:
            assert client.ping()
    finally:
        servers.stop()
        subprocess.run(["rm", "-r", str(folder)], check=True)


def test_embedded__started__opens_no_tcp_port(settings: env.Env, servers: embedded.Embedded) -> None:
    servers.start()
    assert servers.postgres is not None
    assert servers.redis is not None

    for running in (servers.postgres, servers.redis):
        open_files = [os.readlink(link) for link in Path(f"/proc/{running.process.pid}/fd").iterdir()]
        inodes = {name[8:-1] for name in open_files if name.startswith("socket:[")}
        for table in ("tcp", "tcp6"):
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
            assert not inodes & {line.split()[9] for line in lines}


def test_program__library_missing__is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "postgres: error while loading shared libraries: libz.so.1: cannot open shared object file"
    monkeypatch.setattr(server, "run_once", lambda *arguments: (127, said))

    with pytest.raises(StartTrouble, match=r"libz\.so\.1.*apt-get install zlib1g") as refused:
        server.require_runs(Path(sys.executable), None, tmp_path)

    assert refused.value.code == "missing_library"


def test_disk__nearly_full__no_cluster_is_begun(
    settings: env.Env, servers: embedded.Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 10_000_000})
    monkeypatch.setattr("controlplane.host.cluster.shutil.disk_usage", lambda path: usage)

    with pytest.raises(StartTrouble) as refused:
        servers.start()

    assert refused.value.code == "disk_full"
    assert not (settings.data / "pg").exists()


def test_account__closed_parent__is_named(data_folder: Path) -> None:
    closed = data_folder.parent / "closed"
    (closed / "checkout").mkdir(parents=True)
    closed.chmod(0o700)
    stranger = Account("stranger", 54321, 54321)

    with pytest.raises(StartTrouble, match=str(closed)) as refused:
        child.require_reachable(closed / "checkout", stranger, "the data folder")
    closed.chmod(0o755)

    assert refused.value.code == "unreachable"
    assert child.unreachable(closed / "checkout", stranger) is None


def test_private_folder__in_the_way__says_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    with pytest.raises(StartTrouble, match="must be a folder"):
        child.private_folder(tmp_path / "data", None)


def test_spawn__parent_killed__child_ends(tmp_path: Path) -> None:
    code = (
        "import sys, time; from controlplane.host.child import spawn; "
        "print(spawn(['/bin/sleep', '600']).pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=env.ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert lives(pid)

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    deadline = time.monotonic() + 2
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not lives(pid)


def test_broker_url__socket_and_tcp__in_celerys_spelling() -> None:
    assert locations.broker_url("unix://:pw@/x/redis.sock") == "redis+socket://:pw@/x/redis.sock"
    assert locations.broker_url("redis://host:6379/0") == "redis://host:6379/0"


def test_redis_socket__left_by_a_killed_server__is_replaced(settings: env.Env, servers: embedded.Embedded) -> None:
    servers.prepare()
    left = settings.data / "s" / "redis.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))

    servers.start_redis()

    with redis.Redis.from_url(locations.redis_url(settings)) as client:
        assert client.ping()
