"""The generated documents are those of the committed reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import tables, tables_denoising


def cost_report() -> dict[str, object]:
    spread = {"runs": 3, "median_s": 1.5, "min_s": 1.25, "max_s": 2.0}
    both = {"tinysignal": spread, "noisereduce": spread | {"median_s": 6.0}}
    peak = {"wall_s": 1.0, "peak_bytes": 80 * 2**20}
    return {
        "date": "2025-01-02",
        "quick": False,
        "machine": {"cpu": "A CPU", "python": "3.12.0", "versions": {"tinysignal": "0.1.0"}},
        "speed": [
            {"level": level, "seconds": 60, "channels": 2, "sample_rate_hz": 48_000} | both
            for level in ("command", "library")
        ],
        "start": both,
        "memory": [
            {"minutes": 10, "tinysignal": peak, "noisereduce": peak},
            {"minutes": 180, "tinysignal": peak},
        ],
        "install": {"tinysignal": {"bytes": 2**28, "packages": 12}},
    }


@pytest.mark.parametrize("name", [*tables.PAGES, *tables.BLOCKS])
def test_documents_equal_what_the_reports_generate(name: str) -> None:
    path = tables.REPOSITORY / name
    expected = tables.documents()[path]
    assert path.read_text(encoding="utf-8") == expected, "run: python benchmarks/tables.py"


def test_every_report_and_every_page_is_in_use() -> None:
    sources = [*tables.PAGES.values(), *tables.BLOCKS.values()]
    assert {path.stem for path in tables.REPORTS.glob("*.json")} == {name for name, _ in sources}
    pages = (tables.REPOSITORY / "docs" / "benchmarks").glob("*.md")
    assert {path.name for path in pages} == {Path(name).name for name in tables.PAGES} | {
        "index.md"
    }


def test_only_what_is_between_the_markers_changes() -> None:
    text = f"before\n\n{tables.BEGIN}\nold\n{tables.END}\n\nafter\n"
    updated = tables.filled(text, "| new |")
    assert updated == f"before\n\n{tables.BEGIN}\n| new |\n{tables.END}\n\nafter\n"
    assert tables.filled(updated, "| new |") == updated


@pytest.mark.parametrize("marker", [tables.BEGIN, tables.END])
def test_a_marker_without_its_counterpart_is_refused(marker: str) -> None:
    with pytest.raises(ValueError, match="no block, expected one between"):
        tables.filled(f"before\n{marker}\nafter\n", "| new |")


def test_the_cost_page_holds_medians_spread_and_real_time_factors() -> None:
    report = cost_report()
    text = tables_denoising.cost(report)
    times = "1.5 s (1.25 to 2) | 6 s (1.25 to 2) | 0.025 | 0.1 |"
    assert f"| `tinysignal denoise`, 60 s stereo at 48 kHz | {times}" in text
    assert f"| library call, 60 s stereo at 48 kHz | {times}" in text
    assert "| 180 min | 80 | not run |" in text
    assert "| tinysignal | 256 | 12 |" in text
    assert "A CPU, Python 3.12.0, tinysignal 0.1.0; 2025-01-02." in text
    assert "Trial" not in text
    assert "Trial" in tables_denoising.cost(report | {"quick": True})
    without = tables_denoising.cost(report | {"install": None})
    assert "packages" not in without
