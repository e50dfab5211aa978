"""The embedded PostgreSQL's cluster: made whole or not at all, checked before each start, freed of what is stale."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from controlplane.base.keys import derive, key_id
from controlplane.base.locations import DATABASE, OWNER, ROLE, postgres_password
from controlplane.host.child import Account, StartTrouble, private_folder, spawn
from controlplane.host.server import (
    POSTGRES_MAJOR,
    Say,
    Server,
    clean_environment,
    postgres_program,
    quiet,
    require_runs,
    run_once,
    write_private,
)

PATIENCE = 10.0  # seconds that a start waits for a dying server
LONGEST_RECOVERY = 60.0  # seconds
LEAST_FREE = 200 * 1024 * 1024  # bytes for a new cluster

CONFIGURATION = """# Written by Rollcall at each start; changes are lost.
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 100
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


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster at `<data>/pg`. `durable=False` (tests only) leaves out fsync."""

    data: Path
    secret: bytes
    sockets: Path
    account: Account | None
    durable: bool = True
    say: Say = quiet

    @property
    def folder(self) -> Path:
        return self.data / "pg"

    def start(self) -> Server:
        """PostgreSQL accepts connections afterwards. Raises `StartTrouble`; nothing is left running then."""
        server = self.launch()
        deadline = time.monotonic() + LONGEST_RECOVERY
        try:
            while not self.is_ready(server):
                if server.process.poll() is not None:
                    raise self.why_it_ended(server)
                if time.monotonic() > deadline:
                    raise StartTrouble(
                        "postgres_slow", f"PostgreSQL in {self.folder} isn't ready after 60 s. Try again."
                    )
                time.sleep(0.01)
        except BaseException:
            server.end(signal.SIGQUIT, 3)
            raise
        return server

    def launch(self) -> Server:
        """PostgreSQL is on its way afterwards: poll `is_ready`. Raises `StartTrouble`."""
        if not self.folder.exists():
            self._make()
        self._check()
        self._wait_for_dying_server()
        for stale in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (self.sockets / stale).unlink(missing_ok=True)
        self._configure(self.folder)
        process = spawn(
            [str(postgres_program("postgres", self.account)), "-D", str(self.folder)],
            environment=clean_environment(),
            account=self.account,
            folder=self.data,
            death_signal=signal.SIGQUIT,  # ends at once; the next start recovers from the log
        )
        server = Server("postgres", process)
        server.drain(self.say)
        return server

    def is_ready(self, server: Server) -> bool:
        return self._postmaster() == (server.process.pid, "ready")

    def why_it_ended(self, server: Server) -> StartTrouble:
        """The trouble behind a server that ended while it started."""
        said = server.last_words()
        if "No space left" in said:
            return StartTrouble("disk_full", f"The disk of {self.data} is full: PostgreSQL can't start. Make room.")
        if "error while loading shared libraries" in said:
            try:
                require_runs(postgres_program("postgres", self.account), self.account, self.data)
            except StartTrouble as trouble:
                return trouble
        if "Permission denied" in said or "wrong ownership" in said or "invalid permissions" in said:
            why = f"PostgreSQL can't use {self.folder}: {said[-300:]} Mend its owner and mode."
            return StartTrouble("no_permission", why)
        return self._damaged(f"PostgreSQL says: {said[-400:] or 'nothing'}")

    def _configure(self, folder: Path) -> None:
        sockets = str(self.sockets).replace("'", "''")
        text = CONFIGURATION.format(sockets=sockets, fsync="on" if self.durable else "off")
        write_private(folder / "postgresql.conf", text, self.account)
        write_private(folder / "pg_hba.conf", "local all all scram-sha-256\n", self.account)

    def _make(self) -> None:
        """Made beside its place and renamed, so that an interrupted start leaves nothing half-made."""
        for name in ("initdb", "postgres"):
            require_runs(postgres_program(name, self.account), self.account, self.data)
        if shutil.disk_usage(self.data).free < LEAST_FREE:
            raise StartTrouble(
                "disk_full", f"Less than 200 MB are free for {self.data}. Make room, or set ROLLCALL_DATA."
            )
        self.say("postgres", "making a new database")
        draft = self.data / "pg.new"
        shutil.rmtree(draft, ignore_errors=True)
        private_folder(draft, self.account)
        password_file = self.data / "pg.password"
        write_private(password_file, postgres_password(self.secret, "postgres"), self.account)
        options = [f"--pwfile={password_file}", "--auth=scram-sha-256", "-U", "postgres", "-E", "UTF8", "--locale=C"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        options += [] if self.durable else ["--no-sync"]
        try:
            self._must([str(postgres_program("initdb", self.account)), "-D", str(draft), *options])
        finally:
            password_file.unlink(missing_ok=True)
        self._configure(draft)
        roles = [f"CREATE ROLE {ROLE} LOGIN PASSWORD '{postgres_password(self.secret)}';"]
        roles += [f"CREATE ROLE {OWNER} LOGIN CREATEDB PASSWORD '{postgres_password(self.secret, OWNER)}';"]
        alone = [str(postgres_program("postgres", self.account)), "--single", "-j", "-D", str(draft), "postgres"]
        self._must(alone, "\n\n".join([*roles, f"CREATE DATABASE {DATABASE} OWNER {OWNER};", ""]))
        write_private(draft / "rollcall.secret", self._mark(), self.account)
        write_private(draft / "rollcall.roles", f"{OWNER} owns, {ROLE} uses", self.account)
        draft.rename(self.folder)

    def _must(self, argv: list[str], text: str = "") -> None:
        code, said = run_once(argv, self.account, self.data, text)
        if code or re.search(r"^(ERROR|FATAL|PANIC):", said, re.MULTILINE):
            raise StartTrouble(
                "disk_full" if "No space left" in said else "new_cluster",
                f"A new database can't be made in {self.data}: {said.strip()[-400:]} Mend this and start again; "
                "nothing half-made stays behind.",
            )

    def _mark(self) -> str:
        return key_id(derive(self.secret, "embedded cluster"))

    def _check(self) -> None:
        """Raises `StartTrouble` for a damaged cluster, one of another version, or of another secret."""
        try:
            version = (self.folder / "PG_VERSION").read_text(encoding="ascii").strip()
            made_with = (self.folder / "rollcall.secret").read_text(encoding="ascii").strip()
        except PermissionError as error:
            raise StartTrouble("no_permission", f"No permission to read {self.folder}: run as its owner.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(
                f"{getattr(error, 'filename', None) or 'PG_VERSION'} is missing or unreadable"
            ) from error
        if version != POSTGRES_MAJOR:
            raise StartTrouble(
                "cluster_version",
                f"The database in {self.folder} is of PostgreSQL {version or '?'}, and this Rollcall brings "
                f"{POSTGRES_MAJOR}. Dump it with the old version and load it here, or set ROLLCALL_DATA to a "
                "new folder.",
            )
        if not (self.folder / "rollcall.roles").exists():
            raise StartTrouble(
                "cluster_version",
                f"The database in {self.folder} is of an early Rollcall, whose application owned its tables. Delete it "
                "with 'make reset', or set ROLLCALL_DATA to a new folder.",
            )
        if made_with != self._mark():
            raise StartTrouble(
                "secret_changed",
                f"The database in {self.folder} was made with another master secret, and can't be read with this one. "
                f"Restore ROLLCALL_SECRET (or {self.data / 'secret'}), or set ROLLCALL_DATA to a new folder.",
            )

    def _damaged(self, why: str) -> StartTrouble:
        return StartTrouble(
            "damaged",
            f"The database in {self.folder} is damaged: {why}. Restore the folder from a backup, or set it aside "
            f"('mv {self.folder} {self.folder}.damaged') and start again with an empty database.",
        )

    def _postmaster(self) -> tuple[int, str] | None:
        """What postmaster.pid says: the process and its state (the file's eighth line), or None without one."""
        try:
            lines = (self.folder / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
            return abs(int(lines[0])), lines[7].strip() if len(lines) > 7 else ""
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _wait_for_dying_server(self) -> None:
        """No other server uses the cluster afterwards; a pid file that names none is gone."""
        deadline = time.monotonic() + PATIENCE
        while (found := self._postmaster()) is not None:
            pid = found[0]
            if not self._runs_here(pid):
                # The machine restarted, or the number belongs to another program now: PostgreSQL would refuse.
                (self.folder / "postmaster.pid").unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise StartTrouble(
                    "cluster_in_use",
                    f"Another PostgreSQL (process {pid}) still uses {self.folder}. Stop it "
                    f"('kill -INT {pid}') and start again.",
                )
            time.sleep(0.05)

    def _runs_here(self, pid: int) -> bool:
        """Whether that process is a PostgreSQL server whose folder is our cluster."""
        try:
            return os.path.samefile(f"/proc/{pid}/cwd", self.folder)
        except OSError:
            return False
