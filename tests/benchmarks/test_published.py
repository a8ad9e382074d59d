"""Networks from elsewhere are measured alike, and the page says what was measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

import compress_peers  # noqa: E402
import published  # noqa: E402
import tables_published  # noqa: E402
from published_networks import Case, Part, accuracy, distilled  # noqa: E402


def halves(data_dir: Path, seed: int) -> tuple[Part, Part]:
    """Points of a plane with two classes, in 24 values."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.randn(2, 24, generator=torch.Generator().manual_seed(0))
    made = []
    for many in (960, 200):
        places = torch.randn(many, 2, generator=generator)
        made.append(Part(places @ axes, (places.prod(dim=1) > 0).long()))
    return made[0], made[1]


def small_case(**changed: Any) -> Case:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        )

    given: dict[str, Any] = {
        "family": "linear",
        "origin": "this test",
        "shares": (0.5, 0.25),
        "make": make,
        "load": halves,
        "score": accuracy,
        "unit": "accuracy, %",
        "again": distilled,
        "loss": cross_entropy,
        "epochs": 8,
        "joint": False,
    }
    return Case(**given | changed)


def test_every_share_is_measured_within_its_budget_before_and_after_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(published, "TOOLS", ("tinysignal", "tinysignal, joint", "truncated SVD"))
    kept: list[Any] = []
    published.measure(small_case(), Path(), 0, kept.append)
    found = kept[-1]
    assert list(found["shares"]) == ["0.5", "0.25"]
    assert list(found["shares"]["0.5"]) == ["tinysignal", "truncated SVD"]
    assert list(found["shares"]["0.25"]) == ["tinysignal"]
    assert found["dense"]["score"] > 80
    for share, by_tool in found["shares"].items():
        for one in by_tool.values():
            assert one["parameters"] <= float(share) * found["dense"]["parameters"]
            assert one["macs"] < found["dense"]["macs"]
            assert one["bytes"] < found["dense"]["bytes"]
            assert one["times_faster"]["ratio"] > 0
            assert one["retrained"] > 75
    assert found["shares"]["0.5"]["tinysignal"]["cut"] > 75


def test_no_label_reaches_the_compression() -> None:
    part = halves(Path(), 0)[0]
    net = small_case().make()
    made = [
        published.made(small_case(), net, "tinysignal", [(part.inputs, labels)], 3000)
        for labels in (part.targets, 1 - part.targets)
    ]
    for one, other in zip(made[0].parameters(), made[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_a_tool_cannot_do_is_kept_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> nn.Module:
        raise RuntimeError("no such layer\nsecond line")

    monkeypatch.setattr(published, "equal_shares", refuse)
    case = small_case()
    parts = halves(Path(), 0)
    found = published.one(case, case.make(), "truncated SVD", share=0.5, parts=parts, folder=Path())
    assert found == {"fails": "no such layer"}


def test_a_tool_that_is_not_installed_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    case, parts = small_case(), halves(Path(), 0)
    with pytest.raises(ImportError):
        published.one(case, case.make(), "torch-pruning", share=0.5, parts=parts, folder=Path())


def test_truncated_svd_leaves_every_layer_the_same_share_within_the_budget() -> None:
    net = nn.Sequential(
        nn.Conv2d(4, 32, 3), nn.ReLU(), nn.Conv2d(32, 48, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(48 * 16, 40),
    )  # fmt: skip
    budget = compress_peers.count(net) // 3
    given = [(torch.randn(16, 4, 8, 8), torch.zeros(16).long())]
    small = compress_peers.equal_shares(net, given, budget)
    assert 0.9 * budget < compress_peers.count(small) <= budget
    left = [
        sum(p.numel() for name, p in after.named_parameters() if "weight" in name)
        / before.weight.numel()
        for before, after in zip(net, small, strict=True)
        if isinstance(before.get_parameter("weight") if hasattr(before, "weight") else None, Tensor)
    ]
    assert len(left) == 3
    assert max(left) - min(left) < 0.06  # a rank more or less


def test_a_budget_below_every_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="does not get that small"):
        compress_peers.largest(lambda share: nn.Linear(9, 9), 50)


def one_seed(score: float, **tools: Any) -> dict[str, Any]:
    dense = {"parameters": 1000, "macs": 4000, "bytes": 5000, "score": score}
    return {"dense": dense, "shares": {"0.25": tools}}


def cut(score: float) -> dict[str, Any]:
    left = {"parameters": 250, "macs": 2000, "bytes": 1500, "times_faster": {"ratio": 1.5}}
    return left | {"cut": score, "retrained": score + 1}


def test_the_page_has_means_ranges_and_what_failed() -> None:
    seeds = {
        "0": one_seed(97.0, tinysignal=cut(96.0), other={"fails": "no LSTM"}),
        "1": one_seed(99.0, tinysignal=cut(95.0), other={"fails": "no LSTM"}),
    }
    about = published.about(small_case())
    page = tables_published.published({"networks": {"LSTM": about | {"seeds": seeds}}})
    assert "- LSTM: Points of a plane with two classes, in 24 values." in page
    assert (
        "| LSTM | 25.0 | 50.0 | 30.0 | 1.5 | 98.00 (97.00 to 99.00) | "
        "95.50 (95.00 to 96.00) | 96.50 (96.00 to 97.00) |" in page
    )
    assert page.count("other, LSTM: no LSTM") == 1
