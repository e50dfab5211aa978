"""The ruleset's life outside the database: canonical, signed, verified, kept in memory and on disk.

Plain Python: every process loads it here. A ruleset that doesn't verify, read or compile is refused, counted and
remembered in words; the last good one stays.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import orjson
import structlog
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from controlplane.base.files import write_whole
from rollout.rules.decision.decision import EMPTY, Ruleset
from rollout.rules.definition.bounds import MOST_PATTERNS_IN_ALL
from rollout.rules.definition.reading import Invalid
from rollout.rules.ruleset.document import done, read_by_steps
from rollout.rules.ruleset.pieces import parse_by_steps

__all__ = ["EMPTY", "BadRuleset", "Ruleset", "Rulesets", "Signed", "canonical", "load", "sign"]

log = structlog.get_logger(__name__)

NUMBER = "Rollcall-Ruleset"  # an answer's header: the number of the ruleset that it was made by
CONTEXT = b"rollcall ruleset v1\x00"
LARGEST = 8 * 1024 * 1024  # bytes
PATTERN = b'"REGEX"'  # as the canonical body writes the operator
REMEMBERED = 2_000  # refused rulesets
# The newest row that was not refused (`Rulesets.refused_ones`). Hashed only where the version was refused, since a body
# may have megabytes.
NEWEST = (
    "SELECT version, signature FROM rollout_ruleset"
    " WHERE NOT (version = ANY(%s) AND sha256(body || signature) = ANY(%s)) ORDER BY version DESC LIMIT 1"
)


class BadRuleset(Exception):
    """A ruleset that must not be used. `path` is where the fault is, empty when it is the whole."""

    def __init__(self, why: str, path: str = "") -> None:
        super().__init__(why)
        self.path = path


def canonical(document: Any) -> bytes:
    """The one byte string of a document: sorted keys, no spaces, UTF-8; floats keep their point."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def sign(body: bytes, key: SigningKey) -> bytes:
    """64 bytes, Ed25519 over the body under a context of its own."""
    return bytes(key.sign(CONTEXT + body).signature)


def load(body: bytes, signature: bytes, public_key: VerifyKey, *, strict: bool = False) -> Ruleset:
    """Verify, read and compile. Raises `BadRuleset` with a sentence, and nothing else, whatever the bytes are."""
    return done(load_by_steps(body, signature, public_key, strict=strict))


def load_by_steps(
    body: bytes, signature: bytes, public_key: VerifyKey, *, strict: bool = False
) -> Generator[None, None, Ruleset]:
    """The same in steps, none of which takes longer than one feature: between them a process can serve."""
    if len(body) > LARGEST:
        raise BadRuleset(f"The ruleset has {len(body)} bytes; at most {LARGEST} are allowed.")
    if (patterns := body.count(PATTERN)) > MOST_PATTERNS_IN_ALL:
        raise BadRuleset(f"The ruleset has {patterns} regular expressions; at most {MOST_PATTERNS_IN_ALL} are allowed.")
    try:
        public_key.verify(CONTEXT + body, bytes(signature))
    except (BadSignatureError, ValueError, TypeError) as error:
        raise BadRuleset("The ruleset's signature is not by this deployment.") from error
    try:
        digest = hashlib.sha256(body).hexdigest()
        yield
        raw = yield from parse_by_steps(body.decode())
        return (yield from read_by_steps(raw, digest=digest, signature=bytes(signature), strict=strict))
    except Invalid as error:
        raise BadRuleset(str(error), error.path) from error
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise BadRuleset(f"The ruleset is not JSON: {error}.") from error
    except RecursionError as error:
        raise BadRuleset("The ruleset is nested too deeply.") from error
    except Exception as error:  # a process must outlive every ruleset, also one that meets a fault of ours
        raise BadRuleset(f"The ruleset could not be compiled: {type(error).__name__}.") from error


@dataclass(frozen=True, slots=True)
class Signed:
    """A ruleset as it is stored and sent."""

    version: int
    body: bytes
    signature: bytes


class Rulesets:
    """The ruleset that this process decides by. `current` is replaced by one assignment and never changed in place.

    `refused` counts what was refused; `last_refusal` says why in words; `snapshot` is None for no disk.
    """

    def __init__(self, public_key: VerifyKey, snapshot: Path | None = None) -> None:
        self.current: Ruleset = EMPTY
        self.from_disk = False
        self.refused = 0
        self.last_refusal = ""
        self._public_key = public_key
        self._snapshot = snapshot
        self._bad: dict[tuple[int, bytes], None] = {}
        self.listeners: list[Callable[[Ruleset, Ruleset], None]] = []

    def refused_ones(self) -> tuple[list[int], list[bytes]]:
        """Versions and digests of what was refused, so that a watcher asks for the next best one (`NEWEST`).

        A version alone doesn't tell: after a backup was restored, a sound ruleset may bear the number of a refused one.
        """
        return [version for version, _ in self._bad], [digest for _, digest in self._bad]

    def holds(self, version: int, signature: bytes) -> bool:
        """Whether this very ruleset is the current one, and came from PostgreSQL."""
        current = self.current
        return not self.from_disk and (current.version, current.signature) == (version, signature)

    def prepare(self, signed: Signed) -> Ruleset | None:
        """Load without swapping. None when it is refused."""
        return done(self.prepare_by_steps(signed))

    def prepare_by_steps(self, signed: Signed) -> Generator[None, None, Ruleset | None]:
        """The same in short steps."""
        mark = (signed.version, hashlib.sha256(signed.body + signed.signature).digest())
        if mark in self._bad:
            return None
        try:
            ruleset = yield from load_by_steps(signed.body, signed.signature, self._public_key)
            if ruleset.version != signed.version:
                raise BadRuleset(f"It says that it is version {ruleset.version}, but stands as {signed.version}.")
        except BadRuleset as error:
            self.refused += 1
            self.last_refusal = f"Ruleset {signed.version} was refused: {error}"
            self._bad[mark] = None
            while len(self._bad) > REMEMBERED:
                self._bad.pop(next(iter(self._bad)))
            return None
        return ruleset

    def install(self, ruleset: Ruleset) -> None:
        """From the next decision on, this one counts; then the listeners hear of the old and the new."""
        old, self.current, self.from_disk = self.current, ruleset, False
        for listener in self.listeners:
            try:
                listener(old, ruleset)
            except Exception as error:  # one that fails must not keep the others from hearing of a kill
                log.error("ruleset.listener_failed", version=ruleset.version, error=repr(error))

    def swap(self, signed: Signed) -> bool:
        """Load and install; False when it was refused, and the last good one stays."""
        ruleset = self.prepare(signed)
        if ruleset is None:
            return False
        self.install(ruleset)
        return True

    def save(self, signed: Signed) -> None:
        """Keep it on disk for a start without PostgreSQL: temporary file, fsync, rename. Raises OSError."""
        if self._snapshot is None:
            return
        content = canonical(
            {
                "version": signed.version,
                "body": base64.b64encode(signed.body).decode(),
                "signature": base64.b64encode(signed.signature).decode(),
            }
        )
        write_whole(self._snapshot, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)

    def start_from_disk(self) -> bool:
        """Begin with the last good ruleset of this machine; False when there is none, or it is damaged."""
        if self._snapshot is None:
            return False
        try:
            checksum, content = self._snapshot.read_bytes().split(b"\n", 1)
            if hashlib.sha256(content).hexdigest().encode() != checksum:
                raise ValueError("its checksum differs")
            raw = orjson.loads(content)
            if type(raw["version"]) is not int:
                raise ValueError("its version is no number")
            signed = Signed(raw["version"], base64.b64decode(raw["body"]), base64.b64decode(raw["signature"]))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.refused += 1
            self.last_refusal = f"The snapshot {self._snapshot.name} is damaged and was not used: {error}."
            return False
        installed = self.swap(signed)
        self.from_disk = installed
        return installed
