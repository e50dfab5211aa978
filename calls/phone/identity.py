"""A phone's folder: who it is, its keys, its tokens, and whom it remembers.

The folder has mode 0700; each file is JSON, written to a draft and renamed over the old one, so that a kill leaves
either the old or the new one whole. One process at a time uses a folder.

- `identity.json`: number, subscriber, device, private keys, the signed device list.
- `tokens.json`: access token and refresh token.
- `contacts.json`: number and account key of everyone with whom a call stood, and what has claimed to be them since.
- `mark.json`: how far the inbox was read, and the calls that were seen (against replays).
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from calls.rules.blob import BadBlob, End, b64, unb64
from calls.rules.contacts import Claim, Contact, Recognised, recognise, remembered
from calls.rules.devices import DeviceKeys, DeviceList, Pin, digest, sign
from calls.rules.noise_ik import KeyPair


class BadFolder(Exception):
    """The phone's folder can't be used; the message says what to do."""


@dataclass(slots=True, repr=False)
class Keys:
    """Private halves: 32 random bytes each."""

    account: bytes
    device: bytes
    exchange: KeyPair

    @classmethod
    def fresh(cls) -> Keys:
        return cls(secrets.token_bytes(32), secrets.token_bytes(32), KeyPair.of(secrets.token_bytes(32)))

    @property
    def account_public(self) -> bytes:
        return bytes(SigningKey(self.account).verify_key)

    @property
    def device_public(self) -> bytes:
        return bytes(SigningKey(self.device).verify_key)


@dataclass(slots=True, repr=False)
class Tokens:
    access: str
    refresh: str
    issued_at: float
    expires_at: float


@dataclass(slots=True)
class Mark:
    epoch: str = ""
    last_seq: int = 0
    seen: dict[str, int] = field(default_factory=dict)


class Identity:
    """Everything that a phone keeps between runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadFolder(
                f"The folder {folder} can't be used ({error.strerror}). Choose another with --folder."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise BadFolder(
                f"Another phone is using {folder}. End it, or choose another folder with --folder."
            ) from error
        self.url = ""
        self.phone = ""
        self.name = ""
        self.subscriber = ""
        self.device = str(uuid.uuid4())
        self.keys = Keys.fresh()
        self.list_body = b""
        self.list_signature = b""
        self.tokens: Tokens | None = None
        self.contacts: list[Contact] = []
        self.mark = Mark()
        try:
            self._load()
        except (KeyError, TypeError, ValueError, BadBlob) as error:
            raise BadFolder(f"A file in {folder} is damaged. Choose another folder, or register anew.") from error

    def close(self) -> None:
        os.close(self._lock)

    @property
    def registered(self) -> bool:
        return bool(self.subscriber and self.tokens)

    @property
    def end(self) -> End:
        """This end of a call, as the prologue names it."""
        own = self.own_list
        return End(self.subscriber, self.device, own.epoch, own.account_key, self.phone)

    @property
    def own_list(self) -> DeviceList:
        from_body = json.loads(self.list_body)
        return self._list(int(from_body["epoch"]), unb64(from_body["previous"]))

    def sign_list(self, last: bytes | None, epoch: int = 1) -> tuple[bytes, bytes]:
        """Body and signature of the list that follows `last` (None: there is none) and holds this device alone."""
        listed = self._list(epoch, digest(last) if last is not None else b"")
        body = listed.as_bytes()
        return body, sign(body, self.keys.account)

    def _list(self, epoch: int, previous: bytes) -> DeviceList:
        own = DeviceKeys(self.device, self.keys.device_public, self.keys.exchange.public)
        return DeviceList(self.subscriber, self.keys.account_public, epoch, previous, (own,))

    # Whom we know

    def meet(self, listed: DeviceList, phone: str | None) -> Recognised:
        """How a verified list and its number stand to whom this phone remembers. Nothing is believed by it: what
        contradicts a contact is noted there, for the user to agree to."""
        found = recognise(self.contacts, listed, phone)
        if found.change is not None:
            claim = Claim(phone, listed.subscriber, listed.account_key)
            for contact in found.touched:
                self._exchange(contact, replace(contact, rival=claim, agreed=False))
        return found

    def remember(self, listed: DeviceList, phone: str | None) -> None:
        """A call has proved these keys: they are the contact's from now on, unless they contradict what is known."""
        found = recognise(self.contacts, listed, phone)
        if found.change is None:
            self.contacts = [contact for contact in self.contacts if contact not in found.touched]
            self.contacts.append(remembered(found, listed, phone))
            self.keep_contacts()

    def contact(self, who: str) -> Contact | None:
        """Whom the user means by a number or a subscriber id."""
        return next((contact for contact in self.contacts if contact.is_called(who)), None)

    def trust(self, who: str) -> bool:
        """The user agrees to what has changed about this subscriber or number. False where nothing has."""
        changed = [contact for contact in self.contacts if contact.rival is not None and contact.is_called(who)]
        for contact in changed:
            self._exchange(contact, replace(contact, agreed=True))
        return bool(changed)

    def verify(self, who: str) -> bool:
        """The user has compared the safety number of this contact. False where nobody is meant."""
        contact = self.contact(who)
        if contact is not None:
            self._exchange(contact, replace(contact, verified=True))
        return contact is not None

    def _exchange(self, old: Contact, new: Contact) -> None:
        self.contacts[self.contacts.index(old)] = new
        self.keep_contacts()

    # Files

    def keep(self) -> None:
        self._write(
            "identity.json",
            {
                "v": 1,
                "url": self.url,
                "phone": self.phone,
                "name": self.name,
                "subscriber": self.subscriber,
                "device": self.device,
                "account_key": b64(self.keys.account),
                "device_key": b64(self.keys.device),
                "exchange_key": b64(self.keys.exchange.private),
                "list": b64(self.list_body),
                "signature": b64(self.list_signature),
            },
        )

    def keep_tokens(self) -> None:
        if self.tokens is not None:
            t = self.tokens
            body = {"access": t.access, "refresh": t.refresh, "issued_at": t.issued_at, "expires_at": t.expires_at}
            self._write("tokens.json", body)

    def keep_contacts(self) -> None:
        self._write("contacts.json", [_contact_as_json(contact) for contact in self.contacts])

    def keep_mark(self) -> None:
        self._write("mark.json", {"epoch": self.mark.epoch, "last_seq": self.mark.last_seq, "seen": self.mark.seen})

    def _write(self, name: str, value: dict[str, Any] | list[dict[str, Any]]) -> None:
        draft = self.folder / f".{name}.draft"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.folder / name)

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def _load(self) -> None:
        if kept := self._read("identity.json"):
            self.url, self.phone, self.name = kept["url"], kept["phone"], kept["name"]
            self.subscriber, self.device = kept["subscriber"], kept["device"]
            exchange = KeyPair.of(unb64(kept["exchange_key"]))
            self.keys = Keys(unb64(kept["account_key"]), unb64(kept["device_key"]), exchange)
            self.list_body, self.list_signature = unb64(kept["list"]), unb64(kept["signature"])
        if kept := self._read("tokens.json"):
            self.tokens = Tokens(kept["access"], kept["refresh"], kept["issued_at"], kept["expires_at"])
        self.contacts = [_contact_of(entry) for entry in self._read("contacts.json") or ()]
        if kept := self._read("mark.json"):
            self.mark = Mark(kept["epoch"], kept["last_seq"], kept["seen"])


def _contact_as_json(contact: Contact) -> dict[str, Any]:
    pin, rival = contact.pin, contact.rival
    return {
        "phone": contact.phone,
        "subscriber": contact.subscriber,
        "key": b64(pin.account_key),
        "epoch": pin.epoch,
        "digest": b64(pin.digest),
        "verified": contact.verified,
        "rival": rival and {"phone": rival.phone, "subscriber": rival.subscriber, "key": b64(rival.key)},
        "agreed": contact.agreed,
    }


def _contact_of(entry: Mapping[str, Any]) -> Contact:
    pin = Pin(unb64(entry["key"]), entry["epoch"], unb64(entry["digest"]))
    said = entry["rival"]
    rival = said and Claim(said["phone"], said["subscriber"], unb64(said["key"]))
    return Contact(entry["phone"], entry["subscriber"], pin, entry["verified"], rival, entry["agreed"])
