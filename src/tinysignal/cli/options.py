"""The options that every training command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DATA, NET, FIT, MACHINE, OUT = "Data", "Network", "Optimisation", "Machine", "Output"

Config = Annotated[
    Path | None,
    typer.Option(help="TOML file of options; flags override it.", rich_help_panel=DATA),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="TINYSIGNAL_DATA",
        help="Where data that is not found here is looked for.",
        rich_help_panel=DATA,
    ),
]
Steps = Annotated[int | None, typer.Option(help="Length of the run.", rich_help_panel=FIT)]
Seed = Annotated[
    int | None, typer.Option(help="Of weights, batches and splits (0).", rich_help_panel=FIT)
]
Precision = Annotated[
    str | None, typer.Option(help="32 (default), bf16 or 16.", rich_help_panel=MACHINE)
]
Device = Annotated[
    str | None, typer.Option(help="auto (default), cpu, cuda, mps.", rich_help_panel=MACHINE)
]
Devices = Annotated[
    int | None, typer.Option(help="Devices to train on (1).", rich_help_panel=MACHINE)
]
Workers = Annotated[
    int | None, typer.Option(help="Processes that make batches (0).", rich_help_panel=MACHINE)
]
Threads = Annotated[int | None, typer.Option(help="Threads of torch.", rich_help_panel=MACHINE)]
Name = Annotated[str | None, typer.Option(help="Of the model, in its spec.", rich_help_panel=OUT)]
TrainedOn = Annotated[
    str | None, typer.Option(help="Said in the model's spec.", rich_help_panel=OUT)
]
Licence = Annotated[str | None, typer.Option(help="Said in the model's spec.", rich_help_panel=OUT)]
Log = Annotated[
    str | None, typer.Option(help="csv (default) or tensorboard as well.", rich_help_panel=OUT)
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the run in -o.", rich_help_panel=OUT)
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the metrics as JSON.", rich_help_panel=OUT)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.", rich_help_panel=OUT)]


Model = Annotated[str, typer.Option("--model", "-m", help="A bundled name or a model file.")]
AttenuationLimit = Annotated[
    float | None, typer.Option(metavar="DB", min=0, help="Attenuate nothing by more than this.")
]
Mix = Annotated[
    float, typer.Option(min=0, max=1, help="1 for the denoised signal, 0 for the input.")
]
