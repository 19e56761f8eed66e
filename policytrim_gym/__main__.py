"""Runs the command line as `python -m policytrim_gym`."""

import sys

from policytrim_gym.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
