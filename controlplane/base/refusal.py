"""Refusals: what Rollcall says when it doesn't do what was asked.

An action raises a small class with a `code`; every edge renders it in one place as RFC 9457 problem details.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class Refusal(Exception):
    """Base of all refusals. `detail` is a whole sentence that says what to do; `extra` holds flat JSON members."""

    code: ClassVar[str] = "refused"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request was refused"

    def __init__(
        self, detail: str = "", *, retry_after: int | None = None, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or f"{self.title}."
        self.retry_after = retry_after
        self.extra = dict(extra or {})

    def as_problem(self) -> dict[str, Any]:
        """The problem details object of RFC 9457, with our `code` beside it."""
        problem: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.retry_after is not None:
            problem["retry_after"] = self.retry_after
        return {**self.extra, **problem}


class BadInput(Refusal):
    """What was sent can't be read; `path` says where."""

    code = "bad_input"
    title = "The request can't be read"

    def __init__(self, detail: str, *, path: str = "") -> None:
        super().__init__(detail, extra={"path": path} if path else None)


class NotAuthenticated(Refusal):
    code = "not_authenticated"
    status = 401
    title = "Sign in first"


class NotAllowed(Refusal):
    code = "not_allowed"
    status = 403
    title = "You may not do this"


class NotFound(Refusal):
    code = "not_found"
    status = 404
    title = "There is no such thing"


class MethodNotAllowed(Refusal):
    code = "method_not_allowed"
    status = 405
    title = "This method can't be used here"


class TooLarge(Refusal):
    code = "too_large"
    status = 413
    title = "The request is too large"


class TooMany(Refusal):
    code = "rate_limited"
    status = 429
    title = "Too many requests"


class TryAgain(Refusal):
    code = "try_again"
    status = 503
    title = "This can't be done right now"

    def __init__(self, detail: str = "", *, retry_after: int = 2, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail or "Try again in a moment.", retry_after=retry_after, extra=extra)
