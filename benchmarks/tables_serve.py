"""The page on live streams: how many one core holds, and what clients that vanish leave."""

from __future__ import annotations

from tables_markdown import Report, page, table


def serve(report: Report) -> str:
    """Delays and memory by number of streams; hours of clients that come and go."""
    block_ms, churn, machine = report["block_ms"], report["churn"], report["machine"]
    held = max((at["streams"] for at in report["levels"] if at["p99_ms"] < block_ms), default=0)
    half = len(churn["mib"]) // 2
    return page(
        "Live streams",
        "`tinysignal serve` on one core; its clients on the other send a block of "
        f"{block_ms:g} ms every {block_ms:g} ms each and wait for the answer. The delay is from "
        "sending a block to the answer to it; the network's own 32 ms are not in it. How: "
        "`python benchmarks/serve.py`.",
        f"One core holds **{held} streams** of which 99 of 100 blocks are answered within "
        f"{block_ms:g} ms.",
        table(
            ["streams", "median, ms", "99th percentile, ms", "memory for each, KiB"],
            [
                [str(at["streams"]), f"{at['p50_ms']:.1f}", f"{at['p99_ms']:.1f}",
                 f"{at['kib_a_stream']:,}"]
                for at in report["levels"]
            ],
        ),
        "## Clients that vanish",
        f"{churn['streams']} clients at a time for {churn['minutes']:g} minutes, each for a few "
        "seconds; half of them end properly, half break the connection off. Each whole answer is "
        "compared with the library's own for the same sound.",
        table(
            ["whole answers", "vanished", "wrong answers", "memory before, MiB",
             "after a minute", f"after {half}", "at the end"],
            [[f"{churn['whole']:,}", f"{churn['vanished']:,}", str(churn["wrong"]),
              *(f"{churn['mib'][i]:.0f}" for i in (0, 1, half, -1))]],
        ),
        f"{report['date']}, {machine['cpu']}, ONNX Runtime {machine['versions']['onnxruntime']}; "
        f"load of the machine {report['load']:g}.",
    )  # fmt: skip
