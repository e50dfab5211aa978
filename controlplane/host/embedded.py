"""The embedded default: a real PostgreSQL 18 and a real Redis from wheels, under the data folder, on local sockets.

Plain Python. The wheels give binaries only; this module runs them in the foreground, tied to the process that started
them. Nothing listens on TCP; every folder is 0700; passwords are derived from the master secret.

    <data>/pg       the cluster            <data>/redis   configuration, no data
    <data>/s        the sockets, or a temporary folder, named in <data>/sockets, when that path is too long
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from pathlib import Path

from controlplane.base.env import HOME, Env
from controlplane.base.locations import LONGEST_SOCKET_FOLDER, redis_password, socket_folder
from controlplane.host import datafolder
from controlplane.host.child import (
    Account,
    StartTrouble,
    private_folder,
    require_reachable,
    shared_folder,
    spawn,
    system_account,
)
from controlplane.host.cluster import Cluster
from controlplane.host.reach import open_home
from controlplane.host.server import Say, Server, clean_environment, quiet, redis_program, require_runs, write_private

PATIENCE = 10.0  # seconds for Redis to answer

REDIS_CONFIGURATION = """# Written by Rollcall at each start; changes are lost.
# Redis may come back empty at any time, so it keeps nothing.
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


def prepare_socket_folder(data: Path, account: Account | None) -> Path:
    """The socket folder, made when missing; nobody else may enter it."""
    folder = socket_folder(data)
    is_far = len(os.fsencode(data / "s")) > LONGEST_SOCKET_FOLDER
    if is_far and (folder == data / "s" or not _is_ours(folder)):
        base = tempfile.gettempdir()
        folder = Path(tempfile.mkdtemp(prefix="rollcall-", dir=base if len(base) < 60 else "/tmp"))  # noqa: S108
        write_private(data / "sockets", str(folder), None)
        datafolder.prepare(data, account)
    shared_folder(folder, account, sticky=True)
    return folder


def _is_ours(folder: Path) -> bool:
    return not folder.is_symlink() and folder.is_dir() and folder.stat().st_uid == os.geteuid()


class Embedded:
    """The servers of one data folder. Start them from the main thread; they end with the process at the latest."""

    def __init__(
        self, env: Env, *, say: Say = quiet, durable: bool = True, postgres: bool = True, redis: bool = True
    ) -> None:
        self.env = env
        self.data = env.data
        self.say = say
        self.durable = durable
        self.wanted = {"postgres": postgres, "redis": redis}
        self.account = system_account()
        self.sockets = socket_folder(env.data)
        self.postgres: Server | None = None
        self.redis: Server | None = None

    def start(self) -> None:
        """Both servers answer afterwards. Raises `StartTrouble`; nothing is left running then."""
        self.prepare()
        try:
            if self.wanted["postgres"]:
                self.postgres = self.cluster().start()
            if self.wanted["redis"]:
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
        """The folders exist, with the right owner and mode. Raises `StartTrouble`."""
        if self.account is not None and HOME in self.data.parents:
            open_home()
        datafolder.prepare(self.data, self.account)
        require_reachable(self.data, self.account, "the data folder")
        self.sockets = prepare_socket_folder(self.data, self.account)

    def cluster(self) -> Cluster:
        return Cluster(self.data, self.env.secret, self.sockets, self.account, self.durable, self.say)

    def start_redis(self) -> Server:
        """Redis accepts connections afterwards. Raises `StartTrouble`."""
        server = self.redis = self.launch_redis()
        deadline = time.monotonic() + PATIENCE
        while not self.redis_is_ready():
            if server.process.poll() is not None or time.monotonic() > deadline:
                server.end(signal.SIGKILL, 1)
                raise StartTrouble("redis", f"Redis doesn't start: {server.last_words() or server.process.returncode}")
            time.sleep(0.005)
        return server

    def launch_redis(self) -> Server:
        """Redis is on its way afterwards: poll `redis_is_ready`. Raises `StartTrouble`."""
        folder = self.data / "redis"
        private_folder(folder, self.account)
        require_runs(redis_program(self.account), self.account, self.data)
        path = self.sockets / "redis.sock"
        text = REDIS_CONFIGURATION.format(
            socket=_word(path), password=redis_password(self.env.secret), folder=_word(folder)
        )
        write_private(folder / "redis.conf", text, self.account)
        path.unlink(missing_ok=True)
        process = spawn(
            [str(redis_program(self.account)), str(folder / "redis.conf")],
            environment=clean_environment(),
            account=self.account,
            folder=folder,
            death_signal=signal.SIGKILL,
        )
        server = Server("redis", process)
        server.drain(self.say)
        return server

    def redis_is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.sockets / "redis.sock"))
            except OSError:
                return False
        return True


def _word(path: Path) -> str:
    """A path as one word of Redis's configuration."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
