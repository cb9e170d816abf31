"""``python -m holdall``: the same as the ``holdall`` command."""

from holdall.cli.main import main

if __name__ == "__main__":
    main()
