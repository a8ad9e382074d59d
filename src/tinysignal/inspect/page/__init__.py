"""HTML page of an inspection in one file, without network requests.

::

    page.py      the page, with page.html, page.css and page.js
    sections.py  tables and lists of the page
    glossary.py  explanations of its terms
    images.py    all examples in one picture, and colours of the classes
    pictures.py  figures of the page as PNG files
"""

from tinysignal.inspect.page.page import pictures_folder, render_page, write_page

__all__ = ["pictures_folder", "render_page", "write_page"]
