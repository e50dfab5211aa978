"""What an access token says of itself: who made it, and whom it is for."""

from __future__ import annotations

ISSUER = "rollcall"
AUDIENCE = "rollcall.phones"
