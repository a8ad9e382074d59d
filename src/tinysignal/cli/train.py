"""tinysignal train: a sub-command for each kind of network."""

from __future__ import annotations

import typer

from tinysignal.cli.train_classifier import classifier
from tinysignal.cli.train_denoiser import denoiser

app = typer.Typer(
    help="Train a network on your own data.\n\n"
    "Example: tinysignal train denoiser --clean speech/ --noise noise/ -o run",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.command("denoiser", no_args_is_help=True)(denoiser)
app.command("classifier")(classifier)
