"""The phone's REST side: registration, tokens, the device list, and what the phone may do."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from calls.phone.identity import Identity, Tokens
from calls.rules.blob import BadBlob, b64, unb64
from calls.rules.devices import BadDeviceList, DeviceKeys, parse, sign_registration

RENEW_BEFORE_SECONDS = 120.0
TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)

AskCode = Callable[[int], Awaitable[str]]


class Refused(Exception):
    """The server (or this phone itself) said no; `problem` is its problem details object."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("code")))
        self.problem = dict(problem)

    @classmethod
    def here(cls, code: str, detail: str, **extra: Any) -> Refused:
        """A refusal by this phone itself."""
        return cls({"code": code, "detail": detail, **extra})

    @property
    def code(self) -> str:
        return str(self.problem.get("code", "refused"))


class Account:
    """One registered phone as REST knows it. `on_tokens` hears of every new access token."""

    def __init__(self, identity: Identity, url: str, http: aiohttp.ClientSession) -> None:
        self.identity = identity
        self.url = url.rstrip("/")
        self.http = http
        self._renewal: asyncio.Task[None] | None = None
        self.on_tokens: Callable[[str], Awaitable[None]] | None = None

    async def ask(self, method: str, path: str, body: Any = None, *, signed: bool = True) -> Any:
        """The JSON answer. Raises `Refused`, also where nobody answers (`unreachable`)."""
        headers = {"Accept": "application/json"}
        if signed:
            headers["Authorization"] = f"Bearer {await self.access_token()}"
        try:
            async with self.http.request(
                method, self.url + path, json=body, headers=headers, timeout=TIMEOUT
            ) as response:
                answer = await self._json(response)
                if response.status < 400:
                    return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            detail = f"Nobody answers at {self.url}. Is Rollcall running there? (`make run` starts it.)"
            raise Refused.here("unreachable", detail) from error
        problem = answer if isinstance(answer, dict) and "code" in answer else {}
        if not problem:
            problem = {"code": "bad_answer", "detail": f"The server answered {response.status} to {method} {path}."}
        raise Refused({"status": response.status, **problem})

    async def _json(self, response: aiohttp.ClientResponse) -> Any:
        if response.status == 204:
            return {}
        try:
            return await response.json(content_type=None)
        except (ValueError, UnicodeDecodeError):
            return None

    # Registration

    async def register(self, phone: str, device: Mapping[str, Any], *, carrier: str | None, code: AskCode) -> None:
        """Sign in with a number: the code comes with a demonstration's answer, otherwise from `code(seconds)`.

        The phone's own number is the one that the server read from what was written.
        """
        asked = await self.ask("POST", "/v1/registration", {"phone": phone}, signed=False)
        answer = asked.get("demonstration_code") or await code(int(asked.get("expires_in", 600)))
        keys = self.identity.keys
        own = DeviceKeys(str(uuid.uuid4()), keys.device_public, keys.exchange.public)  # an id registers once
        body: dict[str, Any] = {
            "challenge": asked["challenge"],
            "code": answer,
            "device": {"id": own.id, **device},
            "keys": {"ed25519": b64(own.ed25519), "x25519": b64(own.x25519)},
            "account_signature": b64(sign_registration(asked["challenge"], own, keys.account)),
        }
        if carrier:
            body["carrier"] = carrier
        granted = await self.ask("POST", "/v1/registration/verify", body, signed=False)
        self.identity.url, self.identity.phone = self.url, asked["phone"]
        self.identity.subscriber = granted["subscriber"]
        self.identity.device = granted["device"]
        self._keep(granted)
        await self.publish_list()

    async def is_known(self) -> bool:
        """False once this device was signed out, or its number registered on another; true while nobody answers."""
        try:
            await self.ask("GET", "/v1/me")
        except Refused as refused:
            return refused.problem.get("status") != 401
        return True

    async def publish_list(self) -> None:
        """Publish a list that holds this device. Where the account has one already, this one follows upon it."""
        try:
            await self._publish(None, 1)
        except Refused as refused:
            if refused.problem.get("status") not in {400, 409, 422}:
                raise
            me = await self.ask("GET", "/v1/me")
            known = (me or {}).get("device_list")
            if not known:
                raise
            try:
                last = unb64(known["list"])
                epoch = parse(last).epoch + 1
            except (BadBlob, BadDeviceList, KeyError, TypeError):
                raise refused from None
            await self._publish(last, epoch)

    async def _publish(self, last: bytes | None, epoch: int) -> None:
        body, signature = self.identity.sign_list(last, epoch)
        await self.ask("PUT", "/v1/device-list", {"list": b64(body), "signature": b64(signature)})
        self.identity.list_body, self.identity.list_signature = body, signature
        self.identity.keep()

    # Tokens

    def _keep(self, granted: Mapping[str, Any]) -> None:
        now = time.time()
        expires = now + float(granted["expires_in"])
        self.identity.tokens = Tokens(granted["access_token"], granted["refresh_token"], now, expires)
        self.identity.keep_tokens()

    async def access_token(self) -> str:
        """A token with at least two minutes to live (or half its life, where that is less); renews it when needed."""
        tokens = self._tokens()
        spare = min(RENEW_BEFORE_SECONDS, (tokens.expires_at - tokens.issued_at) / 2)
        if time.time() > tokens.expires_at - spare:
            await self.renew()
        return self._tokens().access

    async def renew(self) -> None:
        """Spend the refresh token; one renewal at a time, since a token spent twice looks stolen."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew())
        await asyncio.shield(self._renewal)

    async def _renew(self) -> None:
        body = {"refresh_token": self._tokens().refresh}
        self._keep(await self.ask("POST", "/v1/tokens/refresh", body, signed=False))
        if self.on_tokens is not None:
            await self.on_tokens(self._tokens().access)

    def _tokens(self) -> Tokens:
        if self.identity.tokens is None:
            raise Refused.here("not_registered", "This phone isn't registered yet: run `phone register --phone +49…`.")
        return self.identity.tokens

    # What the phone may do

    async def features(self) -> Any:
        return await self.ask("GET", "/v1/me/features")

    async def evaluate(self, feature: str) -> Any:
        """One flag by OFREP, with the token at hand."""
        body = {"context": {"targetingKey": self.identity.subscriber}}
        return await self.ask("POST", f"/ofrep/v1/evaluate/flags/{feature}", body)
