"""What is counted for Prometheus; and the access log, a JSON object a line."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

_OUT = sys.stdout  # as it is at first: what computes may be kept from it
REQUESTS = Counter("maquette_requests", "Requests that were answered", ["path", "status"])
SECONDS = Histogram("maquette_request_seconds", "From request to the end of its answer", ["path"])
FIRST = Histogram("maquette_first_seconds", "From request to the first byte of what is streamed", ["path"])
BATCH = Histogram("maquette_batch_size", "Items, or texts, of one pass", buckets=(1, 2, 4, 8, 12, 16, 24, 32, 64))
ITEMS = Counter("maquette_items", "Items and texts that were made", ["model"])
QUEUE = Gauge("maquette_queue", "Items that are asked for and not made yet", multiprocess_mode="livesum")
LOADED = Gauge("maquette_loaded_bytes", "Weights in memory", multiprocess_mode="livesum")


def metrics(shared: bool) -> bytes:
    """All of it, as Prometheus reads it. shared: of all processes"""
    if not shared:
        return bytes(generate_latest())
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return bytes(generate_latest(registry))


def note(**facts: Any) -> None:
    """A line of the access log."""
    line = {"time": round(time.time(), 3), **{name: value for name, value in facts.items() if value not in (None, "")}}
    _OUT.write(json.dumps(line, ensure_ascii=True) + "\n")
    _OUT.flush()
