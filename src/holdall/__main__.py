"""The start and the end of the program: ``holdall`` and ``python -m holdall``."""

import gc


def main() -> None:
    """Run one command line and end the process with its exit code."""
    # Modules (the SDK alone is 100,000 objects) and large records are trees of small objects without cycles: to look
    # for some in them takes a third of the time.
    gc.set_threshold(200_000, 50, 100)
    from holdall.cli.main import main as run  # behind it, as most of what a short command does is to import

    try:
        run()
    finally:
        # All that is left goes with the process. The interpreter would look through it for cycles three times more.
        gc.freeze()


if __name__ == "__main__":
    main()
