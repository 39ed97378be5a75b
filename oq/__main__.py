"""``python -m oq``."""

from oq.cli import main

if __name__ == "__main__":
    main()
