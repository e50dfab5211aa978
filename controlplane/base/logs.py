"""One way to log for every process: `noun.verb_past` events with ids and reasons, never a number, a token or a key.

Plain Python (structlog). Under the supervisor a line bears no time of its own, since the supervisor writes it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

HIDDEN_KEYS = frozenset(
    {"phone", "token", "access_token", "refresh_token", "password", "secret", "authorization", "sdp", "blob", "ticket"}
)
# Also as part of an address (%2B is +), and with what people write between digits.
PHONE = re.compile(
    r"(?:\+|%2B)\d(?:(?:[ ()./-]|%20|%28|%29){0,2}\d){6,14}(?!\d)|(?<![\w.-])00[1-9]\d{7,13}(?![\w-])", re.IGNORECASE
)
BEARER = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+")
KEY = re.compile(r"\b(r[kt]_)[\w-]{16,}")
QUERY_TOKEN = re.compile(r"(?<=[?&]token=)[^&\s\"'>]+")
URL_PASSWORD = re.compile(r"(?<=://)([^:/@\s]*):[^@/\s]+@")
SENDERS_FAULTS_PER_SECOND = 5
NOISY = dict.fromkeys(
    ("celery.beat", "celery.app.trace", "celery.worker.strategy", "celery.worker.request"), logging.WARNING
) | {"django.request": logging.ERROR}  # a refusal is an answer: who asked has it


def redact(text: str) -> str:
    """The text without phone numbers, bearer tokens, keys, and tokens and passwords of URLs."""
    text = PHONE.sub(lambda found: f"+…{found[0][-2:]}", text)
    text = BEARER.sub("(token)", text)
    text = KEY.sub(r"\1…", text)
    text = QUERY_TOKEN.sub("…", text)
    return URL_PASSWORD.sub(r"\1:…@", text)


def _hide(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event.pop("unredacted", False):  # the log sender of one-time codes, in a demonstration only
        return event
    for key, value in event.items():
        event[key] = "…" if key in HIDDEN_KEYS else _without(value)
    return event


def _without(value: Any) -> Any:
    """The value, redacted however deep; what is neither text, number nor collection becomes the text that it shows."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return redact(value)
        case dict():
            return {key: "…" if key in HIDDEN_KEYS else _without(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_without(inner) for inner in value]
    return redact(str(value))


def _line(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """`event key=value`, the level in front when it asks for attention, a traceback below."""
    level = str(event.pop("level", "info"))
    time = event.pop("timestamp", None)
    trace = event.pop("exception", None)
    words = [str(time)] if time else []
    words += [level.upper()] if level in {"warning", "error", "critical"} else []
    words.append(str(event.pop("event", "")))
    words += [f"{key}={_value(value)}" for key, value in event.items()]
    return " ".join(words) + (f"\n{trace}" if trace else "")


def _value(value: Any) -> str:
    text = str(value)
    return repr(text) if " " in text or not text else text


class SendersFaults(logging.Filter):
    """What others sent wrong is told in one line without a traceback, and five times a second: nobody fills a disk."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._told = self._untold = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if not _is_senders(record):
            return True
        record.exc_info = record.exc_text = None
        if int(record.created) != self._second:
            if self._untold:
                record.msg, record.args = f"{record.getMessage()} (and {self._untold} others)", None
            self._second, self._told, self._untold = int(record.created), 0, 0
        if self._told == SENDERS_FAULTS_PER_SECOND:
            self._untold += 1
            return False
        self._told += 1
        return True


def _is_senders(record: logging.LogRecord) -> bool:
    """Whether a server tells of a request that it refused, by the status that it answered."""
    if record.name.startswith(("django.request", "django.security")):
        return 400 <= int(getattr(record, "status_code", 400)) < 500
    error = record.exc_info[1] if record.exc_info else None
    return record.name == "aiohttp.server" and 400 <= int(getattr(error, "code", 500)) < 500


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is at that moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def configure_command(name: str) -> None:
    """For a command of manage.py: its answer has stdout, so the log goes to stderr; by hand, only from warnings on."""
    supervised = bool(os.environ.get("ROLLCALL_SUPERVISED"))
    configure(name, level=logging.INFO if supervised else logging.WARNING, handler=_Stderr())


def configure(
    process: str, *, json: bool = False, level: int = logging.INFO, handler: logging.Handler | None = None
) -> None:
    """structlog and the standard library's logging both write redacted lines to stdout (or `handler`) afterwards."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
        _hide,
    ]
    if json or not os.environ.get("ROLLCALL_SUPERVISED"):
        shared.insert(0, structlog.processors.TimeStamper(fmt="iso", utc=True))
    renderer: structlog.types.Processor = structlog.processors.JSONRenderer() if json else _line
    if json:
        shared.append(structlog.processors.EventRenamer("event"))
        structlog.contextvars.bind_contextvars(process=process)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = handler or logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(SendersFaults())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quieter in NOISY.items():
        logging.getLogger(name).setLevel(max(level, quieter))
