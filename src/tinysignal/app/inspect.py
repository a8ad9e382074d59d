"""Tab: the pages of ``tinysignal inspect`` about the runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr

from tinysignal.app.site import Site, answered, spec_of, web
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.files import read_text
from tinysignal.spec import ClassifierSpec

PAGE = "inspect.html"
_POINTS = 1000
_making = threading.Lock()


def build(site: Site) -> None:
    """The tab, in a Gradio context."""
    pages = Pages(site)
    gr.HTML(
        {"runs": list(pages.runs)},
        html_template=web("inspect.html"),
        js_on_load=web("inspect.js"),
        apply_default_css=False,
        elem_id="inspect",
        server_functions=[pages.written],
    )


@dataclass(frozen=True)
class Pages:
    """What the page asks about a run that is looked into."""

    site: Site

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs of classifiers."""
        found = [(run, spec_of(run)) for run in self.site.settings.runs]
        return tuple(str(run) for run, spec in found if isinstance(spec, ClassifierSpec))

    @property
    def written(self) -> Callable[..., dict[str, Any]]:
        """The page of a run: that in its folder, or, where it is wanted, a new one."""

        @answered
        def written(asked: dict[str, Any]) -> dict[str, Any]:
            run = asked["run"]
            if run not in self.runs:
                raise ConfigError(f"'{run}' is not on this page.")
            path = Path(run) / PAGE
            if path.is_file():
                return {"html": read_text(path)}
            if not asked["make"]:
                return {"missing": True}
            with _making:
                return {"html": _made(run, self.site)}

        return written


@cache
def _made(run: str, site: Site) -> str:
    """A page made now; it stays in the private folder."""
    if find_spec("torch") is None:
        raise MissingExtraError("inspecting a network", "train")
    from tinysignal.inspect.page import write_page
    from tinysignal.runs import inspect_run

    found = inspect_run(Path(run), data_dir=site.settings.data_dir, points=_POINTS)
    path = site.new_folder() / PAGE
    write_page(found, path)
    return read_text(path)
