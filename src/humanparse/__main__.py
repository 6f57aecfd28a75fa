"""`python -m humanparse` is the same as `humanparse`."""

from humanparse.cli import main

if __name__ == "__main__":
    main()
