"""``tinysignal inspect``: a page about the layers and examples of a trained classifier."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tinysignal.cli.terminal import Console, on_one_line, printable
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.files import check_writable, json_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tinysignal.inspect import Inspection

PAGE = "inspect.html"


def inspect(
    run: Annotated[Path, typer.Argument(help="Run folder of 'tinysignal train classifier'.")],
    *,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: mnist, fashion-mnist, digits, or a folder with one subfolder for each "
            "class. Its test split is used, its validation split if there is none, or all splits "
            "if that is too small.",
            show_default="that of the run",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="TINYSIGNAL_DATA",
            help="Folder to search for data that is not in the current folder.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Path of the page.", show_default="RUN/inspect.html"),
    ] = None,
    points: Annotated[int, typer.Option(help="Number of examples on the maps.")] = 2000,
    methods: Annotated[
        str, typer.Option(help="Map methods: a list of pca, tsne and umap (needs extra 'umap').")
    ] = "pca,tsne",
    perplexity: Annotated[
        float, typer.Option(help="Perplexity of t-SNE: effective number of neighbours per point.")
    ] = 30.0,
    seed: Annotated[int, typer.Option(help="Random seed of the sample and the maps.")] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(help="Number of parallel jobs.", show_default="one per processor"),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option("--pictures", help="Write the figures of the page as PNG files too."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress and no notes.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all numbers as JSON instead of a table.")
    ] = False,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
) -> None:
    """Inspect a trained classifier and write a page about it, which opens without a server.

    Example: tinysignal inspect run --data mnist --open

    The page shows the best and worst examples of each class, maps of the input and of the outputs
    of every layer with measures of their quality, and the size, cost, dead units and singular
    values of each layer.
    """
    page = output or run / PAGE
    _check(run, page, pictures=pictures)
    try:
        from tinysignal.inspect.page import write_page
        from tinysignal.runs.inspect import inspect_run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"inspecting a network ({error.name})", "train") from None
    with nullcontext() if quiet else _progress() as report:
        inspection = inspect_run(
            run,
            data=data,
            data_dir=data_dir,
            points=points,
            methods=methods.split(","),
            perplexity=perplexity,
            seed=seed,
            jobs=jobs,
            on_progress=report,
        )
    written = write_page(inspection, page, pictures=pictures)
    if as_json:
        print(json_text(inspection.to_json()))
    else:
        _print_table(inspection, quiet=quiet)
        print(on_one_line(f"page: {page}"))
        if pictures:
            print(on_one_line(f"pictures: {len(written) - 1} in {_pictures(page)}"))
    if open_page:
        webbrowser.open(page.resolve().as_uri())


def _pictures(page: Path) -> Path:
    from tinysignal.inspect.page import pictures_folder

    return pictures_folder(page)


def _check(run: Path, page: Path, *, pictures: bool) -> None:
    """Check paths and optional packages before the work."""
    if not run.is_dir():
        raise ConfigError(f"{run}: no such folder. Give a run of 'tinysignal train classifier'.")
    if page.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{page}: ends in '{page.suffix}', expected a name that ends in .html.")
    check_writable(page)
    if find_spec("PIL") is None:
        raise MissingExtraError("the page's examples (PIL)", "train")
    if not pictures:
        return
    if find_spec("matplotlib") is None:
        raise MissingExtraError("--pictures (matplotlib)", "train")
    folder = _pictures(page)
    if folder.is_dir():
        check_writable(folder / "best.png")
    elif folder.exists():
        raise ConfigError(
            f"{folder}: a file, expected a folder for the pictures. Give the page another name."
        )


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """Progress bar on stderr, or a line for each step if stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _print_step
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("outputs", total=None)

        def update(done: int, steps: int, what: str) -> None:
            text = f"{what} done" if done else what
            bar.update(task, completed=done, total=steps, description=escape(text))

        yield update


def _print_step(done: int, steps: int, what: str) -> None:
    what = printable(what)
    typer.echo(f"{done} of {steps}: {what}" if done else f"{what} ...", err=True)


def _print_table(inspection: Inspection, *, quiet: bool) -> None:
    methods = list(dict.fromkeys(m.method for layer in inspection.layers for m in layer.maps))
    where = printable(f"{inspection.title} on {inspection.data}, {inspection.split}")
    print(f"{where}: {100 * inspection.accuracy:.2f} % of {inspection.examples} examples right")
    table = Table("layer", "kNN full")
    for method in methods:
        table.add_column(f"kNN {method}")
    for layer in inspection.layers:
        shares = {one.method: one.knn_accuracy for one in layer.maps}
        cells = [layer.knn_accuracy, *(shares.get(method) for method in methods)]
        table.add_row(escape(layer.title), *map(_percent, cells))
    Console().print(table)
    for note in () if quiet else inspection.notes:
        typer.echo(printable(note), err=True)


def _percent(share: Any) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
