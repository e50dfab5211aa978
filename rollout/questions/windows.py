"""What a window did, counted from the ledger and the measurements."""

from __future__ import annotations

from datetime import datetime

from django.db.models import CharField, Count, Exists, OuterRef, Q, Value
from django.db.models.functions import Cast, Concat

from controlplane.outbox.models import KEPT, Outbox
from rollout.models import Area, CallEvidence, Grant, Measurement, Refusal, Reservation, ReservationState, Window
from rollout.rules.spread.window import Counted


def count_window(window: Window, *, now: datetime) -> Counted:
    """What the ledger and the measurements say about a closed window.

    The outbox forgets what was delivered a day ago, so a grant older than that counts as announced.
    """
    closed_at = window.closed_at
    assert closed_at is not None, "only a closed window is counted"
    opened_at = window.opened_at or closed_at
    grants = Grant.objects.filter(window=window)
    announcement = Outbox.objects.filter(key=Concat(Value("grant:"), Cast(OuterRef("pk"), CharField())))
    areas = list(window.areas.all()) or list(Area.objects.all())
    by_state: dict[str, int] = {}
    for state, n in Reservation.objects.filter(window=window).values_list("state").annotate(n=Count("id")):
        if state == ReservationState.PENDING:  # its accept is about to find the window closed
            state = ReservationState.CANCELLED
        by_state[state] = by_state.get(state, 0) + n
    evidence = CallEvidence.objects.filter(
        feature=window.feature.key,
        area__in=[area.key for area in areas],
        at__gte=opened_at,
        at__lte=closed_at,
        setup_ms__isnull=False,
    )
    return Counted(
        opened_at=window.opened_at,
        closed_at=closed_at,
        places=window.places,
        used=window.used,
        grants=grants.count(),
        announced=grants.filter(Exists(announcement) | Q(granted_at__lt=now - KEPT)).count(),
        by_depth=dict(grants.order_by("depth").values_list("depth").annotate(n=Count("id"))),
        reservations=by_state,
        refusals=dict(
            Refusal.objects.filter(window=window).order_by("outcome").values_list("outcome").annotate(n=Count("id"))
        ),
        peak_calls=Measurement.objects.peak_between([area.pk for area in areas], opened_at, closed_at),
        setup_ms=[ms for ms in evidence.values_list("setup_ms", flat=True) if ms is not None],
    )
