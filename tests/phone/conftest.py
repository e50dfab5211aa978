"""Phones of the named cast, each with a folder of its own, on a small arbiter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from calls.phone import media, silent
from calls.phone.phone import Device, Phone
from calls.phone.report import Reporter
from tests.phone.arbiter import Arbiter

NUMBERS = {"alice": "+4915200000001", "bob": "+4915200000002", "carol": "+4915200000003"}


class Heard:
    """What a phone told, in order; `wait` for what comes."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.news = asyncio.Event()

    def __call__(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.news.set()

    def names(self) -> list[str]:
        return [event["event"] for event in self.events]

    async def wait(self, name: str, *, seconds: float = 15) -> dict[str, Any]:
        async def found() -> dict[str, Any]:
            while True:
                for event in self.events:
                    if event["event"] == name:
                        return event
                self.news.clear()
                await self.news.wait()

        try:
            return await asyncio.wait_for(found(), seconds)
        except TimeoutError:
            raise AssertionError(f"no {name!r} within {seconds} s, but {self.events}") from None


OpenPhone = Callable[..., Awaitable[Phone]]


@pytest.fixture
async def arbiter() -> AsyncIterator[Arbiter]:
    async with Arbiter() as running:
        yield running


@pytest.fixture
async def phones(arbiter: Arbiter, tmp_path: Path) -> AsyncIterator[OpenPhone]:
    """Opens registered and connected phones by name; `phone.heard` holds their events."""
    opened: list[Phone] = []

    async def open_phone(name: str, *, real: bool = False, folder: str | None = None, connect: bool = True) -> Phone:
        reporter, heard = Reporter(as_json=True, name=name, quiet=True), Heard()
        reporter.listeners.append(heard)
        make = (media if real else silent).maker(arbiter.url)
        phone = Phone(tmp_path / (folder or name), arbiter.url, reporter, make)
        phone.heard = heard  # type: ignore[attr-defined]
        await phone.__aenter__()
        opened.append(phone)
        if not phone.identity.registered:
            await phone.register(NUMBERS[name], Device(), carrier=None, name=name, code=no_code)
        if connect:
            await phone.connect()
        return phone

    yield open_phone
    for phone in opened:
        if not phone.http.closed:
            await phone.__aexit__()


async def no_code(expires_in: int) -> str:
    raise AssertionError("the code comes with the answer")


def loudness(samples: Any, hertz: float, rate: int = 48_000) -> float:
    """The part of the power of `samples` that lies within 3 Hz of `hertz`, from 0 to 1."""
    import numpy

    spectrum = numpy.abs(numpy.fft.rfft(samples * numpy.hanning(len(samples)))) ** 2
    at = numpy.fft.rfftfreq(len(samples), 1 / rate)
    return float(spectrum[abs(at - hertz) <= 3].sum() / max(spectrum.sum(), 1e-9))
