"""What `/metrics` shows of one edge."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector


class Metrics:
    """One registry for each edge, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.sockets = Gauge("rollcall_edge_sockets", "Open signaling sockets", registry=registry)
        self.calls = Gauge("rollcall_edge_calls", "Live calls that this edge knows", ["state"], registry=registry)
        self.attempts = Counter("rollcall_edge_attempts", "Calls that were placed", ["area"], registry=registry)
        self.setups = Counter("rollcall_edge_setups", "Calls that connected", ["area"], registry=registry)
        self.ended = Counter("rollcall_edge_ended", "Calls that ended", ["reason"], registry=registry)
        self.dropped = Counter(
            "rollcall_edge_dropped", "Events that meant nothing in their state", ["state", "event"], registry=registry
        )
        self.setup_seconds = Histogram(
            "rollcall_edge_setup_seconds",
            "From the invite to both ends connected",
            buckets=(0.5, 1, 2, 3, 5, 8, 13, 21, 34, 60, 120),
            registry=registry,
        )
        self.refused = Counter("rollcall_edge_refused", "Requests that were refused", ["code"], registry=registry)
        self.journal_lost = Counter(
            "rollcall_edge_journal_lost", "Call records that could not be written", registry=registry
        )
        self.lag = Gauge("rollcall_edge_loop_lag_seconds", "How late the event loop last woke up", registry=registry)
        self.breaker = Gauge("rollcall_edge_database_open", "1 while PostgreSQL is not asked", registry=registry)
        self.store_away = Gauge("rollcall_edge_store_away", "1 while Redis gives no answer", registry=registry)
        self.ruleset = Gauge("rollcall_edge_ruleset_version", "The ruleset in use", registry=registry)
        self.rulesets_refused = Gauge(
            "rollcall_edge_rulesets_refused", "Rulesets that were refused since the start", registry=registry
        )
