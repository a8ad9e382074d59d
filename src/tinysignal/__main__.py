"""`python -m tinysignal` is the command `tinysignal`."""

from tinysignal.cli.main import main

if __name__ == "__main__":
    main()
