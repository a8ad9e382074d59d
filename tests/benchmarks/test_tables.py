"""The tables of the documents are those of the committed reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import tables


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
        "install": {
            "tinysignal": {"bytes": 2**28, "packages": 12},
            "noisereduce": {"bytes": 2**29, "packages": 20},
        },
    }


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    (tmp_path / "cost.json").write_text(json.dumps(cost_report()), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("path", tables.documents(), ids=lambda path: path.name)
def test_documents_equal_what_the_reports_generate(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert tables.update(text) == text, "run: python benchmarks/tables.py --write"


def test_only_what_is_between_the_markers_changes(reports: Path) -> None:
    text = "before\n\n<!-- table: cost-memory -->\nold\n<!-- /table -->\n\nafter\n"
    updated = tables.update(text, reports=reports)
    assert updated.startswith("before\n\n<!-- table: cost-memory -->\n|")
    assert updated.endswith("\n<!-- /table -->\n\nafter\n")
    assert "old" not in updated
    assert "| 180 min | 80 | not run |" in updated
    assert tables.update(updated, reports=reports) == updated


def test_cost_table_holds_medians_spread_and_real_time_factors(reports: Path) -> None:
    text = tables.render_table("cost", reports=reports)
    times = "1.5 s (1.25 to 2) | 6 s (1.25 to 2) | 0.025 | 0.1 |"
    assert f"| `tinysignal denoise`, 60 s stereo at 48 kHz | {times}" in text
    assert f"| library call, 60 s stereo at 48 kHz | {times}" in text
    assert "| `pip install tinysignal` | 256 | 12 |" in text
    assert "A CPU, Python 3.12.0, tinysignal 0.1.0; 2025-01-02." in text
    assert "Trial" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: colour -->\nred\n<!-- /table -->\n", "table 'colour', expected one of"),
        ("<!-- table: cost -->\n", "without its counterpart"),
        ("<!-- /table -->\n", "without its counterpart"),
    ],
)
def test_markers_that_mean_nothing_are_refused(reports: Path, text: str, message: str) -> None:
    with pytest.raises(tables.TableError, match=message):
        tables.update(text, reports=reports)


def test_a_table_without_its_report_may_stand_empty_and_is_named(tmp_path: Path) -> None:
    empty, filled = (f"<!-- table: cost -->\n{body}<!-- /table -->\n" for body in ("", "old\n"))
    assert tables.update(empty, reports=tmp_path) == empty
    assert tables.empty_tables(empty) == ["cost"]
    with pytest.raises(tables.TableError, match=r"needs cost\.json"):
        tables.update(filled, reports=tmp_path)
