"""The catalogue of limits and batch sizes, one line each."""

from __future__ import annotations

WAVE_BATCH = 500  # subscribers looked at in one transaction of a wave
WAVE_BATCHES_PER_RUN = 40  # then the task ends and another is sent, so that one wave doesn't hold the bulk worker
SWEEP_BATCH = 500  # reservations ended in one transaction
SWEEPS_PER_TICK = 20
GRANTS_AT_ONCE = 1000  # people granted by one operator's request
WINDOW_NUMBER_MOST = 100_000_000  # places, quotas and budgets of one window, and seconds of age
WAVES_PER_FEATURE = 200  # also the bound of a ruleset: rules/feature.py
PHONE_DECISIONS_PER_SECOND = 20  # requests of one subscriber for decisions, on one edge; five seconds' worth at once
BACKEND_DECISIONS_PER_SECOND = 20_000  # requests of one API key for decisions, on one edge
STREAMS_PER_PERSON = 8  # event streams of one person (or of one API key about one person) on one edge
STREAMS_PER_EDGE = 20_000
STREAM_SECONDS = 6 * 3600  # then a listener connects again, to whichever edge has room
