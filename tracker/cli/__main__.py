"""`python -m tracker.cli`."""

from tracker.cli.main import main

if __name__ == "__main__":
    main()
