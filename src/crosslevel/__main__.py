"""``python -m crosslevel`` is the command ``crosslevel``."""

from crosslevel.cli import main

if __name__ == "__main__":
    main()
