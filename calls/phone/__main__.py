"""`manage.py phone`: a phone on the command line. `commands` describes the mode for programs (`--json … run`)."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from calls.phone.account import Refused
from calls.phone.commands import Commands, status
from calls.phone.crowd import Crowd
from calls.phone.identity import BadFolder
from calls.phone.incoming import Answering, Policy
from calls.phone.leg import MakeMedia, Wish
from calls.phone.phone import Device, Phone
from calls.phone.report import Reporter
from calls.rules.contacts import plain_number

FAILED, UNUSABLE = 1, 2


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 as wished, 1 refused or not connected, 2 unusable options or folder."""
    options = _parser().parse_args([word for at, word in enumerate(argv) if at or word != "phone"])
    reporter = Reporter(as_json=options.json)
    try:
        return asyncio.run(_run(options, reporter))
    except BadFolder as error:
        reporter.refused({"code": "bad_folder", "detail": str(error)}, op=options.do)
        return UNUSABLE
    except Refused as refused:
        reporter.refused(refused.problem, op=options.do)
        return FAILED
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py phone", description="A phone for Rollcall: calls, answers, listens."
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where Rollcall is (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, default=Path(".phone"), help="keys, tokens and contacts (default: .phone)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON event per line instead of sentences")
    parser.add_argument("--signaling-only", action="store_true", help="calls without media (both ends)")
    verbs = parser.add_subparsers(dest="do", required=True, metavar="VERB")

    register = verbs.add_parser("register", help="sign in with a number")
    _registration(register, required=True)
    call = verbs.add_parser("call", help="call a number")
    call.add_argument("number")
    call.add_argument("--seconds", type=float, default=5.0, help="hang up after this long (default: %(default)s)")
    call.add_argument("--until-ended", action="store_true", help="don't hang up; wait until the other side does")
    _sound(call)
    listen = verbs.add_parser("listen", help="wait for calls")
    policy = listen.add_mutually_exclusive_group()
    policy.add_argument("--answer", action="store_true", help="answer at once: your standing consent")
    policy.add_argument("--answer-after", type=float, metavar="S", help="answer after S seconds")
    policy.add_argument("--decline", action="store_true")
    policy.add_argument("--ignore", action="store_true", help="let it ring")
    listen.add_argument("--seconds", type=float, help="hang up S seconds after a call stands")
    listen.add_argument("--calls", type=int, default=0, help="end after so many calls (default: never)")
    _sound(listen)
    _registration(listen, required=False)
    run = verbs.add_parser("run", help="obey commands on standard input, one JSON object per line")
    run.add_argument("--answer", choices=[str(choice) for choice in Answering], default="manual")
    _sound(run)
    _registration(run, required=False)
    verbs.add_parser("features", help="what this phone may do, and why")
    crowd = verbs.add_parser("crowd", help="many phones that hold calls in pairs, without media")
    crowd.add_argument("--pairs", type=int, default=17)
    crowd.add_argument("--phone-prefix", default="+4915200", help="numbers are this and six digits")
    crowd.add_argument("--carrier", help="MCC-MNC of all of them, such as 262-03")
    crowd.add_argument("--hold", action="store_true", help="register and wait for `start` on standard input")
    return parser


def _registration(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--phone", required=required, help="the number, as +49…; registers if that wasn't done yet")
    parser.add_argument("--code", help="the one-time code, where a demonstration doesn't tell it")
    parser.add_argument("--carrier", help="MCC-MNC, such as 262-03")
    parser.add_argument("--name", default="", help="how this phone calls itself in what it prints")
    for name, value in Device().as_json().items():
        parser.add_argument(f"--{name.replace('_', '-')}", default=value, help=f"(default: {value})")


def _sound(parser: argparse.ArgumentParser) -> None:
    sound = parser.add_mutually_exclusive_group()
    sound.add_argument("--tone", type=int, metavar="HZ", help="send a steady tone (default: a random one)")
    sound.add_argument("--wav", type=Path, help="send a sound file, over and over")
    parser.add_argument("--record", type=Path, help="write what is heard to this WAV file ({call}: the call's id)")


async def _run(options: argparse.Namespace, reporter: Reporter) -> int:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    if options.do == "crowd":
        return await _until(ended, _crowd(options, reporter))
    reporter.name = getattr(options, "name", "")
    kind = "silent" if options.signaling_only else "media"  # a signaling-only phone must not load aiortc (60 MB)
    make = cast(MakeMedia, importlib.import_module(f"calls.phone.{kind}").maker(options.url))
    async with Phone(options.folder, options.url, reporter, make) as phone:
        work = {"register": _register, "call": _call, "listen": _listen, "run": _obey, "features": _features}
        return await _until(ended, work[options.do](options, phone))


async def _until(ended: asyncio.Event, work: object) -> int:
    """The work's exit code, or 0 when a signal ended it; the phone hangs up on its way out."""
    doing: asyncio.Future[int] = asyncio.ensure_future(cast("asyncio.Future[int]", work))
    signalled = asyncio.ensure_future(ended.wait())
    either: set[asyncio.Future[int] | asyncio.Task[bool]] = {doing, signalled}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if doing.done():
        return doing.result()
    doing.cancel()
    await asyncio.gather(doing, return_exceptions=True)
    return 0


async def _typed(expires_in: int) -> str:
    print(f"Enter the code that was sent to you (valid for {expires_in} s): ", end="", file=sys.stderr, flush=True)
    return str(await asyncio.to_thread(sys.stdin.readline)).strip()


async def _sign_in(options: argparse.Namespace, phone: Phone, commands: Commands | None = None) -> None:
    """Register where a number is given, unless this phone is registered with it, and still is to the server."""
    known = phone.identity.registered and phone.identity.phone == plain_number(options.phone)
    if not options.phone or (known and await phone.account.is_known()):
        return

    async def code(expires_in: int) -> str:
        if options.code:
            return str(options.code)
        return await commands.ask_code(expires_in) if commands else await _typed(expires_in)

    device = Device(**{name: getattr(options, name) for name in Device().as_json()})
    await phone.register(options.phone, device, carrier=options.carrier, name=options.name, code=code)


def _wish(options: argparse.Namespace) -> Wish:
    return Wish(getattr(options, "seconds", None), options.tone, options.wav, options.record)


async def _register(options: argparse.Namespace, phone: Phone) -> int:
    await _sign_in(options, phone)
    return 0


async def _call(options: argparse.Namespace, phone: Phone) -> int:
    await phone.connect()
    wish = _wish(options)
    if options.until_ended:
        wish = Wish(None, wish.tone, wish.wav, wish.record)
    ending = await phone.place({"phone": options.number}, wish)
    return 0 if ending.reason == "hangup" else FAILED


async def _listen(options: argparse.Namespace, phone: Phone) -> int:
    await _sign_in(options, phone)
    answering = Answering.MANUAL
    if options.answer or options.answer_after is not None:
        answering = Answering.AUTO
    elif options.decline or options.ignore:
        answering = Answering.DECLINE if options.decline else Answering.IGNORE
    phone.policy = Policy(answering, options.answer_after or 0.0, _wish(options))
    await phone.connect()
    typed = asyncio.create_task(Commands(phone).listen()) if answering is Answering.MANUAL else None
    hint = " When it rings, type `answer` or `decline`." if typed else ""
    phone.reporter.say("ready", f"Waiting for calls; Ctrl-C ends.{hint}", **status(phone))
    try:
        while not options.calls or phone.ended < options.calls:
            await asyncio.sleep(0.1)
            if phone.signaling.stopped.done():
                return FAILED
    finally:
        if typed is not None:
            typed.cancel()
    return 0


async def _obey(options: argparse.Namespace, phone: Phone) -> int:
    commands = Commands(phone)
    phone.policy = Policy(Answering(options.answer), 0.0, _wish(options))
    listening = asyncio.create_task(commands.listen())
    try:
        await _sign_in(options, phone, commands)
        await phone.connect()
        phone.reporter.say("ready", "Ready for commands.", **status(phone))
        await commands.quit.wait()
    finally:
        listening.cancel()
    return 0


async def _features(options: argparse.Namespace, phone: Phone) -> int:
    features = await phone.account.features()
    for entry in features.get("features", []) if isinstance(features, dict) else []:
        if isinstance(entry, dict) and not options.json:
            print(f"{entry.get('key')}: {entry.get('words') or entry.get('reason')}")
    if options.json:
        phone.reporter.say("features", "", features=features)
    return 0


async def _crowd(options: argparse.Namespace, reporter: Reporter) -> int:
    crowd = Crowd(
        reporter,
        options.url,
        options.folder,
        pairs=options.pairs,
        prefix=options.phone_prefix,
        carrier=options.carrier,
    )
    try:
        await crowd.open()
        if not options.hold:
            crowd.start(options.pairs)
        await crowd.obey()
    finally:
        await crowd.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
