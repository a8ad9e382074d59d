"""The page on this machine: ``tinysignal app``; needs the ``app`` extra.

::

    settings.py   what was asked for: address, limits, runs
    server.py     the server: private folder, start, end
    page.py       the tabs in one page, and how it looks
    site.py       what the tabs share: folders, models, errors in one line
    denoise.py    tab: recordings before and after; overview.py is its spectrograms
    live.py       tab: the microphone, cleaned while one speaks
    digits.py     tab: a drawn digit through all layers; network.py has its examples
    compress.py   tab: a run's network cut to a rank
    inspect.py    tab: the page of a run
    train.py      tab: the curve of a run as it grows
    web/          the page's own parts: HTML, CSS and JavaScript

A tab decides nothing: it shows what a function of the library answers. Only the modules with the
tabs import Gradio.
"""

from tinysignal.app.server import serve
from tinysignal.app.settings import Settings

__all__ = ["Settings", "serve"]
