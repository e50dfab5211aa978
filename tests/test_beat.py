"""Beat's schedule: in memory, and due at once."""

from __future__ import annotations

from controlplane import beat


def test_scheduler__started__every_task_is_due() -> None:
    scheduler = beat.Scheduler(app=beat.app)

    entries = scheduler.schedule.values()

    assert len(entries) > 5
    assert all(entry.is_due().is_due for entry in entries)
