"""Picture files and what a network sees of them; owns "(rows, columns), 0 black to 1 white".

::

    files.py    read picture files as grey values, in the size that a network takes
    framing.py  find the ink on a page and place it in a small picture, as MNIST does
"""

from tinysignal.images.files import (
    SUFFIXES,
    Grey,
    frame_image,
    image_size,
    read_framed,
    read_image,
)

__all__ = ["SUFFIXES", "Grey", "frame_image", "image_size", "read_framed", "read_image"]
