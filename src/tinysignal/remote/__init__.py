"""Files in object stores and on servers, by their URLs: ``s3://bucket/talks/monday.wav``.

::

    url.py       what a URL is, and what people are shown of it
    store.py     the stores that fsspec knows: listed, asked and read, their errors in one line
    transfer.py  a file fetched for a while, and one stored when it is whole

Everything else works on local files: what reads a sound needs to seek, often several times.
"""

from tinysignal.remote.store import bytes_of, is_folder, list_folder, read_bytes, state_of
from tinysignal.remote.transfer import fetched, fetched_folder, stored, write_bytes
from tinysignal.remote.url import Place, State, Url, inside, is_url, place

__all__ = [
    "Place",
    "State",
    "Url",
    "bytes_of",
    "fetched",
    "fetched_folder",
    "inside",
    "is_folder",
    "is_url",
    "list_folder",
    "place",
    "read_bytes",
    "state_of",
    "stored",
    "write_bytes",
]
