"""`python -m paramrag`: the command line where the `paramrag` script is not on the path."""

from .cli import main

if __name__ == "__main__":
    main()
