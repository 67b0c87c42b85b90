"""What Prometheus reads at /metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..infer import Scheduler
from ..store import Collection

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """The numbers of one server."""

    def __init__(self, scheduler: Scheduler, collection: Collection) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Engine(scheduler))
        self._registry.register(_Adapters(collection))
        self.requests = Counter(
            "paramrag_requests", "Requests answered", ("endpoint", "mode", "status"), registry=self._registry
        )
        self.stage = Histogram(
            "paramrag_stage_seconds",
            "Time of a request by stage: retrieve, gather, queue, prefill, decode, first_token, total",
            ("stage",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "paramrag_requests_in_flight", "Requests taken and not finished", registry=self._registry
        )
        self.jobs = Gauge("paramrag_encoding_jobs", "Encoding jobs that wait or run", registry=self._registry)

    def text(self) -> bytes:
        """Returns everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _Engine(Collector):
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        stats = self._scheduler.stats()
        for name, text, value in (
            ("queue_requests", "Requests that wait for a row", stats.waiting),
            ("prefill_rows", "Rows whose prompt is being read", stats.reading),
            ("batch_rows", "Rows that are answering", stats.decoding),
            ("prefix_cache_bytes", "Keys and values kept for prompts that begin alike", stats.prefix_bytes),
            ("prefix_cache_prompts", "Prompts in that cache", stats.prefixes),
        ):
            yield GaugeMetricFamily(f"paramrag_{name}", text, value)
        for name, text, value in (
            ("decode_steps", "Decode steps", stats.steps),
            ("decode_rows", "Rows in all decode steps; over the steps, the mean batch size", stats.decoded_rows),
            ("prompt_tokens", "Tokens in prompts", stats.prompt_tokens),
            ("prefix_cache_hit_tokens", "Prompt tokens that did not have to be read", stats.reused_tokens),
            ("generated_tokens", "Tokens generated", stats.generated_tokens),
        ):
            yield CounterMetricFamily(f"paramrag_{name}", text, value)


class _Adapters(Collector):
    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def collect(self) -> Iterator[Metric]:
        hits, misses = self._collection.cached_rows
        yield CounterMetricFamily("paramrag_adapter_cache_hits", "Adapters that were decoded in memory", hits)
        yield CounterMetricFamily("paramrag_adapter_cache_misses", "Adapters that were read from disk", misses)
