"""What the signaling path refuses, beside the refusals that every part shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.base.refusal import NotAuthenticated, Refusal


def signed_out() -> NotAuthenticated:
    """What a device hears once it was revoked, or its number registered on another one."""
    return NotAuthenticated(
        "This device was signed out, or its number was registered on another one. Register again to use it here.",
        extra={"cause": "signed_out"},
    )


class CannotBeCalledNow(Refusal):
    """One answer for blocked, unknown, not enabled, ineligible and opted-out: only of the caller and the window."""

    code = "cannot_be_called_now"
    status = 409
    title = "This person can't be called now"

    def __init__(self, window: Mapping[str, Any], invite: str, retry_at: int | None) -> None:
        super().__init__(
            "This person can't be called now. Try again later.",
            extra={"window": dict(window), "invite": invite, "retry_at": retry_at},
        )


class NotEnabled(Refusal):
    code = "not_enabled"
    status = 403
    title = "You don't have calling"


class DeviceListSuperseded(Refusal):
    code = "device_list_superseded"
    status = 409
    title = "This is not the device list that stands"


class Stopped(Refusal):
    code = "stopped"
    status = 403
    title = "Calling is stopped"


class CallUnknown(Refusal):
    code = "call_unknown"
    status = 404
    title = "There is no such call"


class CallOver(Refusal):
    code = "call_over"
    status = 409
    title = "The call is over"


class TooLate(Refusal):
    code = "too_late"
    status = 409
    title = "The call was answered before you hung up"


class OutOfState(Refusal):
    code = "out_of_state"
    status = 409
    title = "This doesn't fit the state of the call"


class Glare(Refusal):
    code = "glare"
    status = 409
    title = "The other person is calling you at this moment"


class SocketReplaced(Refusal):
    code = "socket_replaced"
    status = 409
    title = "This device opened another socket"


class OutOfOrder(Refusal):
    code = "out_of_order"
    status = 400
    title = "This message can't come now"


class UnreadEncoding(Refusal):
    code = "unsupported_media_type"
    status = 415
    title = "The request has a form that we don't read"
