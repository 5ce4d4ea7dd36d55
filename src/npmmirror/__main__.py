"""`npmmirror` and `python -m npmmirror`."""

from npmmirror.cli.app import main

if __name__ == "__main__":
    main()
