"""`python -m tinysignal` is the command `tinysignal`."""

from tinysignal.cli.main import main

main()
