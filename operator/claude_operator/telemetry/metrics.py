"""Counters in the Prometheus text format. Labels are few and bounded: no session, no namespace."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)
_Labels = tuple[tuple[str, str], ...]


class Metrics:
    """What /metrics serves."""

    def __init__(self, prefix: str) -> None:
        """`prefix` comes before every name, with its underscore."""
        self._prefix = prefix
        self._counters: dict[tuple[str, _Labels], int] = defaultdict(int)
        self._gauges: dict[str, int] = defaultdict(int)
        self._histograms: dict[str, list[int]] = {}
        self._sums: dict[str, float] = defaultdict(float)

    def count(self, name: str, *, by: int = 1, **labels: str) -> None:
        """Add to a counter."""
        self._counters[name, tuple(sorted(labels.items()))] += by

    def add(self, name: str, by: int) -> None:
        """Change a gauge."""
        self._gauges[name] += by

    def set(self, name: str, value: int) -> None:
        """Give a gauge its value."""
        self._gauges[name] = value

    def observe(self, name: str, value: float) -> None:
        """Add a value to a histogram, in seconds."""
        counts = self._histograms.setdefault(name, [0] * (len(_BUCKETS) + 1))
        for index, bound in enumerate(_BUCKETS):
            if value <= bound:
                counts[index] += 1
        counts[-1] += 1
        self._sums[name] += value

    def render(self) -> str:
        """The text that Prometheus reads."""
        lines: list[str] = []
        typed: set[str] = set()
        for (name, labels), value in sorted(self._counters.items()):
            if name not in typed:
                typed.add(name)
                lines.append(f"# TYPE {self._prefix}{name} counter")
            shown = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
            lines.append(
                f"{self._prefix}{name}{{{shown}}} {value}" if shown else f"{self._prefix}{name} {value}"
            )
        for name, value in sorted(self._gauges.items()):
            lines += [f"# TYPE {self._prefix}{name} gauge", f"{self._prefix}{name} {value}"]
        for name, counts in sorted(self._histograms.items()):
            lines.append(f"# TYPE {self._prefix}{name} histogram")
            lines += [
                f'{self._prefix}{name}_bucket{{le="{bound:g}"}} {count}'
                for bound, count in zip(_BUCKETS, counts, strict=False)
            ]
            lines += [
                f'{self._prefix}{name}_bucket{{le="+Inf"}} {counts[-1]}',
                f"{self._prefix}{name}_sum {self._sums[name]:.6f}",
                f"{self._prefix}{name}_count {counts[-1]}",
            ]
        return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
