"""What the service tells Prometheus of its work."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_MS = (0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256)


class Figures:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.files = Counter(
            "tinysignal_files", "Files, by what became of them.", ["result"],
            registry=self.registry,
        )  # fmt: skip
        self.file_seconds = Counter(
            "tinysignal_file_seconds", "Seconds of sound in denoised files.",
            registry=self.registry,
        )  # fmt: skip
        self.streams = Gauge(
            "tinysignal_streams", "Streams that are open.", registry=self.registry
        )  # fmt: skip
        self.refused = Counter(
            "tinysignal_refused", "Requests that were refused, by why.", ["why"],
            registry=self.registry,
        )  # fmt: skip
        self.stream_seconds = Counter(
            "tinysignal_stream_seconds", "Seconds of sound that streams took in.",
            registry=self.registry,
        )  # fmt: skip
        self.block_seconds = Histogram(
            "tinysignal_block_seconds", "Time from a block's arrival to its answer.",
            buckets=[ms / 1000 for ms in _MS], registry=self.registry,
        )  # fmt: skip
