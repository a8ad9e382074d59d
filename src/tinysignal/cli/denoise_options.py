"""The options of the commands that denoise."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[str, typer.Option("--model", "-m", help="A bundled name or a model file.")]
AttenuationLimit = Annotated[
    float | None, typer.Option(metavar="DB", min=0, help="Attenuate nothing by more than this.")
]
Mix = Annotated[
    float, typer.Option(min=0, max=1, help="1 for the denoised signal, 0 for the input.")
]
