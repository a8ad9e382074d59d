"""The page on networks that nobody here wrote: published.json."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tables_markdown import Report, page, table

OURS, JOINT = "tinysignal", "tinysignal, joint"


def published(report: Report) -> str:
    """Compressed networks by family, and other tools at the same number of parameters."""
    networks = report["networks"]
    tools = list(dict.fromkeys(tool for _, _, tool, _ in _measured(networks)))
    return page(
        "Networks from elsewhere",
        "Networks that nobody here defined. Some come trained: their packages carry the weights. "
        "The others are small configurations, trained here for a minute or two on a few thousand "
        "examples. No rank and no epoch was chosen by a score. For networks that come trained, the "
        "loss, the number of calibration examples and the rate of the further training were "
        "changed once, after a first run on the same test examples, and all tools run again. "
        "Test sounds are of the speakers and noises of the validation split. How: "
        "`benchmarks/published.py`.",
        table(
            ["network", "family", "origin", "parameters", "MACs", "seeds"],
            [_about(name, network) for name, network in networks.items()],
        ),
        "\n".join(f"- {name}: {one['data']}" for name, one in networks.items()),
        "## Before and after",
        'Compressed by `params=`, on 1024 training examples without labels (192 and `loss="mse"` '
        "where the network came trained, since its outputs are no logits); 'joint' is "
        '`refine="joint"`. Then trained further for one epoch: nine tenths of the loss compare '
        "with the original's outputs, a tenth with the labels; for networks that came trained, all "
        "of it with the outputs. 'Times faster' is of ONNX Runtime: medians of one example, one "
        "thread, both networks in turn. Means of the seeds, and ranges.",
        table(
            [
                *("network", "parameters, %", "MACs, %", "bytes, %", "times faster"),
                *("dense", "compressed", "trained further"),
            ],
            [row for name, network in networks.items() for row in _rows(name, network)],
        ),
        "## Other tools at the same number of parameters",
        "The score when compressed, and after the same further training. 'truncated SVD' leaves "
        "every layer the same share of its weights; TensorLy-Torch (0.5.0) makes Tucker layers; "
        "Torch-Pruning (1.6.1) takes whole units away, by Taylor importance where there are "
        "labels, else by size of the weights, and is meant to be followed by training.",
        table(
            ["network, score", "parameters, %", "dense", *tools],
            [_beside(name, network, tools) for name, network in networks.items()],
        ),
        *_failures(networks),
    )


def _measured(networks: Report) -> Iterator[tuple[str, str, str, Report]]:
    """Every result: network, share, tool, figures."""
    for name, network in networks.items():
        for seed in network["seeds"].values():
            for share, by_tool in seed["shares"].items():
                for tool, one in by_tool.items():
                    yield name, share, tool, one


def _about(name: str, network: Report) -> list[str]:
    seeds = network["seeds"]
    dense = next(iter(seeds.values()))["dense"]
    counts = [f"{dense[key]:,}".replace(",", " ") for key in ("parameters", "macs")]
    return [name, network["family"], network["origin"], *counts, ", ".join(seeds)]


def _rows(name: str, network: Report) -> list[list[str]]:
    """A row for each share, and one for the joint refinement."""
    rows = []
    for share in _shares(network):
        for tool in (OURS, JOINT):
            both = _found(network, share, tool)
            if not both:
                continue
            left = [_mean_share(both, key) for key in ("parameters", "macs", "bytes")]
            ratio = _spread([cut["times_faster"]["ratio"] for _, cut in both], 1)
            scores = [_spread([cut[key] for _, cut in both]) for key in ("cut", "retrained")]
            dense = _spread([one["score"] for one, _ in both])
            label = f"{name}{tool.removeprefix(OURS)}"
            rows.append([label, *left, ratio, dense, *scores])
    return rows


def _shares(network: Report) -> list[str]:
    return list(next(iter(network["seeds"].values()))["shares"])


def _found(network: Report, share: str, tool: str) -> list[tuple[Report, Report]]:
    """Dense and compressed, of every seed in which a tool did it."""
    seeds = network["seeds"].values()
    both = [(seed["dense"], seed["shares"].get(share, {}).get(tool, {})) for seed in seeds]
    return [(dense, cut) for dense, cut in both if "retrained" in cut]


def _mean_share(found: list[tuple[Report, Report]], key: str) -> str:
    return f"{100 * statistics.fmean(cut[key] / dense[key] for dense, cut in found):.1f}"


def _spread(values: list[float], digits: int = 2) -> str:
    """The mean, and the range if there is one."""
    mean, low, high = (f"{f(values):.{digits}f}" for f in (statistics.fmean, min, max))
    return mean if low == high else f"{mean} ({low} to {high})"


def _beside(name: str, network: Report, tools: list[str]) -> list[str]:
    share = _shares(network)[0]
    dense = _spread([seed["dense"]["score"] for seed in network["seeds"].values()])
    row = [f"{name}, {network['score']}", f"{100 * float(share):.0f}", dense]
    for tool in tools:
        cuts = [cut for _, cut in _found(network, share, tool)]
        both = [_spread([cut[key] for cut in cuts]) for key in ("cut", "retrained") if cuts]
        row.append(", then ".join(both))
    return row


def _failures(networks: Report) -> list[str]:
    """What tools could not do, in their own words."""
    said = {
        f"- {tool}, {name}: {one['fails']}": None
        for name, _, tool, one in _measured(networks)
        if "fails" in one
    }
    return ["What a tool could not do, in its own words:", "\n".join(said)] if said else []
