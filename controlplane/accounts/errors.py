"""What is refused about people, devices, codes and tokens. Unknown, revoked and spent look the same from outside."""

from __future__ import annotations

from controlplane.base.refusal import NotAuthenticated, Refusal, TooMany


class PhoneInvalid(Refusal):
    """Nobody can have this number; `cause` says which part is wrong."""

    code = "phone_invalid"
    title = "This is not a phone number"

    def __init__(self, detail: str, *, cause: str) -> None:
        super().__init__(detail, extra={"cause": cause, "path": "phone"})


class PhoneNotServed(Refusal):
    """A number that we don't send codes to; `cause` says which kind it is."""

    code = "phone_not_served"
    status = 422
    title = "This number can't register"

    def __init__(self, detail: str, *, cause: str) -> None:
        super().__init__(detail, extra={"cause": cause, "path": "phone"})


class CodeRefused(Refusal):
    """The same for a wrong code and for a challenge that is unknown, spent, expired or guessed at too often."""

    code = "code_refused"
    status = 403
    title = "The code was not accepted"

    def __init__(self) -> None:
        super().__init__("The code is wrong or no longer valid. Check it, or ask for a new one.")


class CodesPaused(Refusal):
    """The budget for codes of this day is spent: closed rather than open."""

    code = "codes_paused"
    status = 503
    title = "No codes can be sent right now"


class CodeLimit(TooMany):
    title = "Too many codes"


class DeviceRefused(Refusal):
    """The same for a device id that is somebody else's and for one's own: each registration draws a new one."""

    code = "device_refused"
    status = 409
    title = "This device id can't be used"

    def __init__(self) -> None:
        super().__init__(
            "This device id can't be used. Draw a new one and register again.", extra={"path": "device.id"}
        )


class RefreshRefused(NotAuthenticated):
    code = "refresh_refused"
    title = "The refresh token was not accepted"

    def __init__(self) -> None:
        super().__init__("The refresh token is not valid. Register again with the phone number.")


class TokenRefused(NotAuthenticated):
    code = "token_refused"
    title = "The access token was not accepted"

    def __init__(self) -> None:
        super().__init__("The access token is wrong or has expired. Get a new one with the refresh token.")


class DeviceListRefused(Refusal):
    """The signed list is wrong in itself; the detail says what."""

    code = "device_list_refused"
    title = "The device list was not accepted"


class DeviceNotListed(Refusal):
    """Only devices on the signed list that stands speak for an account."""

    code = "device_not_listed"
    status = 403
    title = "This device is not on the device list"


class DeviceListStale(Refusal):
    """The list doesn't follow the one that stands; `epoch` and `previous` say what the next one must follow."""

    code = "device_list_stale"
    status = 409
    title = "The device list does not follow the last one"

    def __init__(self, detail: str, *, epoch: int, previous: str) -> None:
        super().__init__(detail, extra={"epoch": epoch, "previous": previous})
