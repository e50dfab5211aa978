"""A kill against those who are being activated at that moment: who commits after it was acknowledged gets nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from django.db import connection, transaction
from django.utils import timezone

from rollout.actions.features import kill
from rollout.models import Grant, Wave
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")


def during_a_kill(act: Callable[[], T], *, undone: bool = False) -> T:
    """What `act` answers that began while a kill was about to commit (or to be undone), and ended after it."""
    killed, begun = threading.Event(), threading.Event()

    def stop() -> None:
        try:
            with transaction.atomic():
                kill(cast.CALLS, actor=cast.OPERATOR, now=timezone.now())
                killed.set()
                assert begun.wait(10)
                wait_for_a_lock()
                transaction.set_rollback(undone)
        finally:
            connection.close()

    def go() -> T:
        try:
            assert killed.wait(10)
            begun.set()
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        stopped, answer = pool.submit(stop), pool.submit(go)
        stopped.result(20)
        return answer.result(20)


def wait_for_a_lock() -> None:
    """Until somebody waits for what this transaction holds; a second at most, for those that need not wait."""
    with connection.cursor() as cursor:
        for _ in range(50):
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))), "
                "pg_sleep(0.02)"
            )
            if cursor.fetchone()[0]:
                return


@pytest.fixture
def it(request: Any) -> cast.Launch:
    return cast.launch(activate_on=getattr(request, "param", "answered"))


def test_accept__during_a_kill__grants_nothing(it: cast.Launch) -> None:
    call = cast.reserve(it.alice, it.bob)[2]

    outcome, _ = during_a_kill(lambda: cast.complete(call))

    assert outcome == "window_closed"
    assert not Grant.objects.filter(source="invite").exists()
    assert cast.faults_in_books() == []


@pytest.mark.parametrize("it", ["answered", "offered"], indirect=True)
def test_offer__during_a_kill__takes_no_place(it: cast.Launch) -> None:
    outcome, detail, _ = during_a_kill(lambda: cast.reserve(it.alice, it.bob))

    assert (outcome, detail["cause"]) == ("window_closed", "feature_killed")
    assert not Grant.objects.filter(source="invite").exists()
    assert cast.faults_in_books() == []


def test_batch_of_a_wave__during_a_kill__admits_nobody(it: cast.Launch) -> None:
    wave = Wave.objects.create(feature=it.feature, position=1, name="Wave", state="open", opened_at=timezone.now())
    people = [it.bob.pk, it.carol.pk]

    answer = during_a_kill(
        lambda: cast.loaded(cast.ask("SELECT rollout_admit(%s, %s::uuid[], NULL, NULL, true)", wave.pk, people)[0])
    )

    assert (answer["outcome"], answer["admitted"]) == ("not_open", 0)
    assert not Grant.objects.filter(source="wave").exists()
    assert Wave.objects.get().state == "open"


def test_accept__during_a_kill_that_fails__grants(it: cast.Launch) -> None:
    call = cast.reserve(it.alice, it.bob)[2]

    assert during_a_kill(lambda: cast.complete(call), undone=True)[0] == "granted"
