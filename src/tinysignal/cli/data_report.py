"""The report of a check of data, on stderr."""

from __future__ import annotations

from rich.text import Text

from tinysignal.cli.terminal import Console, on_one_line
from tinysignal.datasets.report import DataReport

_STYLES = {"error": "bold red", "warning": "yellow", "mended": "green", "note": "dim"}


def show_data_report(report: DataReport) -> None:
    """Print a report; nothing if its only finding is the error that the command ends with."""
    if not report.says_more:
        return
    console = Console(stderr=True)

    def show(text: Text) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    show(Text(on_one_line(report.headline)))
    for group in report.groups:
        style = _STYLES[group.severity]
        show(Text.assemble((f"  {group.severity:<8}", style), on_one_line(group.title)))
        for line in group.lines():
            show(Text(f"            {on_one_line(line)}", style="dim"))
    if report.errors:
        show(Text(report.advice))
