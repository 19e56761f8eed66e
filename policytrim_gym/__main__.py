"""Runs the command line as `python -m policytrim_gym`."""

import sys

from policytrim_gym.cli.main import main

sys.exit(main())
