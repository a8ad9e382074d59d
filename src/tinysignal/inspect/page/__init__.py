"""One HTML file that shows an inspection, without requests to anywhere.

::

    page.py      the whole page, with page.html, page.css and page.js
    sections.py  its tables and lists
    glossary.py  the terms that it explains
    images.py    all examples in one picture, and the colours of the classes
    pictures.py  the same figures as PNG files
"""

from tinysignal.inspect.page.page import pictures_folder, render_page, write_page

__all__ = ["pictures_folder", "render_page", "write_page"]
