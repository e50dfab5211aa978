"""What the log may hold: ids and reasons, never a number, a token or a password."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controlplane.base import env, logs

PROGRAM = """
import logging, structlog
from controlplane.base import logs
logs.configure("web", json={json})
log = structlog.get_logger("x")
log.info("call.placed", call="c1", to="+4930123456", token="eyJhbGciOi.abc.def")
logging.getLogger("library").warning("connecting to redis://:hunter2@host/0")
try:
    raise ValueError("about +4930123456")
except ValueError:
    log.exception("call.failed")
class Request:
    def __repr__(self):
        return "<Request: GET '/api/explain?subscriber=%2B4930123456'>"
logging.getLogger("django").warning("Not Found", extra={{"request": Request(), "status_code": 404}})
logging.getLogger("django.request").warning("Conflict: /v1/registration", extra={{"status_code": 409}})
logging.getLogger("django.request").error("Internal Server Error", extra={{"status_code": 500}})
log.info("call.told", about=["+4930123456", {{"token": "secret-1", "key": "rk_" + "a1" * 20}}])
log.info("code.sent", phone="+4930123456", unredacted=True)
"""


def said(*, as_json: bool) -> list[str]:
    program = PROGRAM.format(json=as_json)
    done = subprocess.run([sys.executable, "-c", program], cwd=env.ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("as_json", [True, False])
def test_logs__private_values__never_written(as_json: bool) -> None:
    lines = said(as_json=as_json)

    text = "\n".join(lines[:-1])
    assert "call.placed" in text
    for private in ("4930123456", "eyJhbGciOi", "hunter2", "secret-1", "a1a1a1"):
        assert private not in text
    assert "+4930123456" in lines[-1], "the demonstration's codes are shown on purpose"


def test_logs__as_json__one_object_a_line() -> None:
    events = [json.loads(line) for line in said(as_json=True)]

    assert events[0]["event"] == "call.placed"
    assert {event["process"] for event in events} == {"web"}
    assert events[1]["level"] == "warning"


def test_logs__trouble__level_in_front_and_trace_below() -> None:
    lines = said(as_json=False)

    assert any("WARNING connecting to redis://:…@host/0" in line for line in lines)
    assert any("ERROR call.failed" in line for line in lines)
    assert "ValueError: about +…56" in lines


def test_logs__refusals_of_the_web__are_no_lines() -> None:
    text = "\n".join(said(as_json=False))

    assert "ERROR Internal Server Error" in text
    assert "Conflict" not in text


FLOOD = """
import asyncio, logging, os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
from aiohttp import web
from controlplane.base import logs
import django
from django.test import Client
logs.configure("edge", json=False)
django.setup()
logs.configure("edge", json=False)
for _ in range(50):
    Client().get("/api/features", headers={"host": "not_a.host!"})

async def nothing(request): return web.Response()
async def main():
    app = web.Application()
    app.add_routes([web.get("/", nothing)])
    await asyncio.sleep(1.1)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    for _ in range(50):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n bad header\\r\\n\\r\\n")
        await reader.read()
        writer.close()
    await runner.cleanup()
asyncio.run(main())
logging.getLogger("aiohttp.server").error("Unhandled exception", exc_info=ValueError("ours"))
"""


def test_logs__requests_that_make_no_sense__cost_a_line_each_and_few_lines_a_second(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", FLOOD], cwd=env.ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "ROLLCALL_DATA": str(tmp_path)},
    )  # fmt: skip
    lines = done.stdout.splitlines()

    seconds = round(time.monotonic() - begun) + 1
    assert "Traceback" not in done.stdout.partition("Unhandled exception")[0]
    assert any("Invalid HTTP_HOST" in line for line in lines)
    assert any("Error handling request" in line for line in lines)
    assert len(lines) < 5 * seconds + 10
    assert "ValueError: ours" in lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to +493012345 now", "to +…45 now"),
        ("1+23", "1+23"),
        ("GET /api/subscribers/%2B493012345?x=1", "GET /api/subscribers/+…45?x=1"),
        ("subscriber=%2b49%2030%2012345&feature=x", "subscriber=+…45&feature=x"),
        ("to +49 (30) 123-45.", "to +…45."),
        ("to 0049301234567", "to +…67"),
        ("rt_" + "Ab-_" * 10, "rt_…"),
        ("id 00123456-0000-7000-8000-004930123456", "id 00123456-0000-7000-8000-004930123456"),
        ("at 2026-11-22T02:53:10+00:00", "at 2026-11-22T02:53:10+00:00"),
        ("unix://:pw@/x", "unix://:…@/x"),
        ("postgresql://rollcall:pw@host/db", "postgresql://rollcall:…@host/db"),
    ],
)
def test_redact__table__hides_what_is_private(text: str, expected: str) -> None:
    assert logs.redact(text) == expected
