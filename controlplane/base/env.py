"""The one place where the environment and the data folder are read.

Plain Python on purpose: the edge, the phone and the supervisor read their settings here without loading Django.
Every knob goes through `_read`, which fails loudly and says which variable to mend.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from controlplane.base.addresses import Network, is_loopback

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
LOG_SENDER = "controlplane.accounts.senders.LogSender"
HOME = Path("/var/lib/rollcall")  # for root whose checkout stands where the servers' user can't enter


class BadSetting(Exception):
    """A variable of the environment that can't be used; the message says which and what is expected."""


@dataclass(frozen=True, slots=True)
class Env:
    """Everything that a deployment may set. Times are in seconds unless the name says otherwise."""

    data: Path
    database_url: str | None
    database_owner_url: str | None
    redis_url: str | None
    host: str
    port: int
    console_port: int
    public_url: str
    demonstration: bool
    debug: bool
    allowed_hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    trusted_proxies: tuple[Network, ...]
    secret: bytes
    secret_given: bool
    turn_urls: tuple[str, ...]
    turn_secret: str
    token_seconds: int
    token_grace_seconds: int
    edge_report_seconds: float
    poll_seconds: float
    route_seconds: float
    ring_seconds: float
    setup_seconds: float
    accepting_seconds: float
    alive_seconds: float
    log_json: bool
    code_sender: str
    code_countries: tuple[str, ...]
    codes_per_day: int
    record_days: int
    refusal_days: int
    measurement_days: int
    silent_days: int

    @property
    def state(self) -> Path:
        """What our own processes keep. Started as root, they may write nowhere else in the data folder."""
        return self.data / "state"


def _read(source: Mapping[str, str], name: str, parse: Callable[[str], T], default: T, expects: str) -> T:
    raw = source.get(name, "").strip()
    if not raw:
        return default
    try:
        return parse(raw)
    except ValueError as error:
        raise BadSetting(f"{name}={raw!r} can't be used: expected {expects}.") from error


def _port(raw: str) -> int:
    port = int(raw)
    if not 1 <= port <= 65535:
        raise ValueError(raw)
    return port


def _flag(raw: str) -> bool:
    if raw.lower() in {"1", "true", "yes", "on"}:
        return True
    if raw.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError(raw)


def _seconds(raw: str) -> float:
    value = float(raw)
    if not 0 < value < 86_400:
        raise ValueError(raw)
    return value


def _words(raw: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in raw.split(",") if word.strip())


def _networks(raw: str) -> tuple[Network, ...]:
    return tuple(ip_network(word) for word in _words(raw))


def _countries(raw: str) -> tuple[str, ...]:
    countries = tuple(word.upper() for word in _words(raw))
    if any(len(country) != 2 or not country.isalpha() for country in countries):
        raise ValueError(raw)
    return countries


def _dotted(raw: str) -> str:
    if "." not in raw or not all(part.isidentifier() for part in raw.split(".")):
        raise ValueError(raw)
    return raw


def _natural(raw: str) -> int:
    number = int(raw)
    if number < 0:
        raise ValueError(raw)
    return number


def _whole(raw: str) -> int:
    number = int(raw)
    if number < 1:
        raise ValueError(raw)
    return number


def _secret(source: Mapping[str, str], data: Path) -> bytes:
    """The master secret: 32 bytes from ROLLCALL_SECRET (hex), or made once in the data folder (mode 0600)."""
    raw = source.get("ROLLCALL_SECRET", "").strip()
    if raw:
        try:
            secret = bytes.fromhex(raw)
        except ValueError as error:
            raise BadSetting("ROLLCALL_SECRET must be 64 hexadecimal digits (32 random bytes).") from error
        if len(secret) != 32:
            raise BadSetting(f"ROLLCALL_SECRET must be 32 bytes (64 hexadecimal digits), but holds {len(secret)}.")
        return secret
    path = data / "secret"
    try:
        return _read_secret(path)
    except FileNotFoundError:
        pass
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f"secret.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # never replaces: the first process of several wins, and all read its secret
        except FileExistsError:
            pass
        draft.unlink()
    except PermissionError as error:
        raise BadSetting(f"No permission to write {path}: set ROLLCALL_DATA to a folder of your own.") from error
    return _read_secret(path)


def _read_secret(path: Path) -> bytes:
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except PermissionError as error:
        raise BadSetting(f"No permission to read {path}: run as its owner, or set ROLLCALL_SECRET.") from error
    except ValueError as error:
        raise BadSetting(f"{path} is damaged: it must hold 64 hexadecimal digits. Restore it from a backup.") from error
    if len(secret) != 32:
        raise BadSetting(f"{path} is damaged: it must hold 64 hexadecimal digits. Restore it from a backup.")
    return secret


def place_of(path: Path) -> Path:
    """A folder of its own below `/var/lib/rollcall` for each path of this machine."""
    resolved = path.resolve()
    return HOME / f"{resolved.name[:24]}-{hashlib.sha256(os.fsencode(resolved)).hexdigest()[:8]}"


def is_closed(path: Path) -> bool:
    """Whether some folder on the way to `path`, or `path` itself, keeps out everybody but its owner and group."""
    resolved = path.resolve()
    return not all(step.stat().st_mode & 0o001 for step in (resolved, *resolved.parents))


def data_folder(source: Mapping[str, str]) -> Path:
    """ROLLCALL_DATA, or `.rollcall` in the checkout; for root in a closed home, a folder that the servers can reach."""
    given = source.get("ROLLCALL_DATA", "").strip()
    if given:
        return Path(given).absolute()
    return place_of(ROOT) if os.geteuid() == 0 and is_closed(ROOT) else ROOT / ".rollcall"


def _require_private(env: Env) -> None:
    """Raises `BadSetting` for a demonstration that others than this machine could reach."""
    for name in (env.host, urlsplit(env.public_url).hostname or env.public_url, *env.allowed_hosts):
        if not is_loopback(name):
            raise BadSetting(
                "This would be a demonstration, which shows one-time codes to whoever asks, so it answers its own "
                f"machine only, and {name} isn't it. Set ROLLCALL_DEMONSTRATION=0 to serve others, or unset "
                "ROLLCALL_HOST, ROLLCALL_PUBLIC_URL and ALLOWED_HOSTS."
            )


def load(source: Mapping[str, str] | None = None) -> Env:
    """Read every setting. Raises `BadSetting` with a sentence that names the variable."""
    source = os.environ if source is None else source
    data = data_folder(source)
    port = _read(source, "PORT", _port, 8080, "a port from 1 to 65535")
    host = source.get("ROLLCALL_HOST", "").strip() or "127.0.0.1"
    public_url = (source.get("ROLLCALL_PUBLIC_URL", "").strip() or f"http://{host}:{port}").rstrip("/")
    env = Env(
        data=data,
        database_url=source.get("DATABASE_URL", "").strip() or None,
        database_owner_url=source.get("DATABASE_OWNER_URL", "").strip() or None,
        redis_url=source.get("REDIS_URL", "").strip() or None,
        host=host,
        port=port,
        console_port=_read(source, "CONSOLE_PORT", _port, 8081, "a port from 1 to 65535"),
        public_url=public_url,
        demonstration=_read(source, "ROLLCALL_DEMONSTRATION", _flag, False, "1 or 0"),
        debug=_read(source, "ROLLCALL_DEBUG", _flag, False, "1 or 0"),
        allowed_hosts=_read(source, "ALLOWED_HOSTS", _words, ("127.0.0.1", "localhost", "[::1]", host), "names"),
        allowed_origins=_read(source, "ALLOWED_ORIGINS", _words, (), "origins, separated by commas"),
        trusted_proxies=_read(source, "TRUSTED_PROXIES", _networks, (), "addresses or networks, separated by commas"),
        secret=_secret(source, data),
        secret_given=bool(source.get("ROLLCALL_SECRET", "").strip()),
        turn_urls=_read(source, "TURN_URLS", _words, (), "turn: addresses, separated by commas"),
        turn_secret=source.get("TURN_SECRET", "").strip(),
        token_seconds=_read(source, "TOKEN_SECONDS", _whole, 900, "whole seconds from 1"),
        token_grace_seconds=_read(source, "TOKEN_GRACE_SECONDS", _natural, 3600, "whole seconds from 0"),
        edge_report_seconds=_read(source, "EDGE_REPORT_SECONDS", _seconds, 2.0, "seconds"),
        poll_seconds=_read(source, "POLL_SECONDS", _seconds, 1.0, "seconds"),
        route_seconds=_read(source, "ROUTE_SECONDS", _seconds, 60.0, "seconds"),
        ring_seconds=_read(source, "RING_SECONDS", _seconds, 45.0, "seconds"),
        setup_seconds=_read(source, "SETUP_SECONDS", _seconds, 30.0, "seconds"),
        accepting_seconds=_read(source, "ACCEPTING_SECONDS", _seconds, 5.0, "seconds"),
        alive_seconds=_read(source, "ALIVE_SECONDS", _seconds, 90.0, "seconds"),
        log_json=_read(source, "LOG_JSON", _flag, False, "1 or 0"),
        code_sender=_read(source, "CODE_SENDER", _dotted, LOG_SENDER, "a class, such as package.module.Sender"),
        code_countries=_read(source, "CODE_COUNTRIES", _countries, (), "two-letter countries, separated by commas"),
        codes_per_day=_read(source, "CODES_PER_DAY", _whole, 10_000, "a whole number from 1"),
        record_days=_read(source, "RECORD_DAYS", _whole, 30, "whole days, from 1"),
        refusal_days=_read(source, "REFUSAL_DAYS", _whole, 90, "whole days, from 1"),
        measurement_days=_read(source, "MEASUREMENT_DAYS", _whole, 14, "whole days, from 1"),
        silent_days=_read(source, "NUMBER_SILENT_DAYS", _whole, 45, "whole days, from 1"),
    )
    if env.demonstration:
        _require_private(env)
    return env
