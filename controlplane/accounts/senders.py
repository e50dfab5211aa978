"""How a one-time code reaches a phone: one adapter per way, named by CODE_SENDER."""

from __future__ import annotations

from typing import Protocol

import structlog
from django.conf import settings
from django.utils.module_loading import import_string

log = structlog.get_logger(__name__)


class Sender(Protocol):
    def send(self, e164: str, code: str) -> None:
        """Hands the code on. An exception means that it was not sent."""


class LogSender:
    """Writes to the log. The code itself stands there only in a demonstration or in development."""

    def send(self, e164: str, code: str) -> None:
        number = f"+…{e164[-2:]}"
        if settings.ENV.demonstration or settings.ENV.debug:
            log.info("code.sent", to=number, code=code, unredacted=True)
        else:
            log.info("code.sent", to=number)


def current_sender() -> Sender:
    sender: Sender = import_string(settings.CODE_SENDER)()
    return sender
