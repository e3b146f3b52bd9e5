"""`python -m fastdata` is the command line."""

from typing import NoReturn


def main() -> NoReturn:
    """Runs the process's command line. It is imported here, since each packing process imports this module first."""
    from fastdata.commands.cli import main

    main()


if __name__ == "__main__":
    main()
