"""``python -m stream_al``: the command line."""

from stream_al.cli import main

if __name__ == "__main__":
    main()
