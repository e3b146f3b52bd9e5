"""`python -m fastdata` is the command line."""

from fastdata.commands.cli import main

if __name__ == "__main__":
    main()
