"""``python -m kexue``: the command line."""

from kexue.cli import main

if __name__ == "__main__":
    main()
