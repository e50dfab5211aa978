"""What the story prints while it waits."""

from __future__ import annotations

import time

import pytest

from story.progress import Progress


def test_progress__long_wait__says_again_and_again_what_is_awaited(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(longest_silence=0.05)
    progress.start()

    with progress.awaiting("the wave to admit everybody"), progress.awaiting("alice's phone to tell of: token"):
        time.sleep(0.25)
    time.sleep(0.15)
    progress.stop()

    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["     … waiting for the wave to admit everybody (0 s)"] * 2
    assert lines[-1].startswith("     … waiting for the next step")


def test_progress__lines_of_the_story__make_waiting_unspoken(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(longest_silence=0.5)
    progress.start()

    for _ in range(10):
        progress.say("a statement")
        time.sleep(0.06)
    progress.stop()

    assert capsys.readouterr().out.splitlines() == ["a statement"] * 10


def test_progress__not_started__leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(longest_silence=0.01)

    with progress.awaiting("anything"):
        progress.say("a statement")
        time.sleep(0.05)

    assert capsys.readouterr().out == ""
