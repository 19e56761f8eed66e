"""PolicyTrim for Gymnasium: fewer model calls and fewer steps for chunked policies."""

from policytrim_gym.version import __version__ as __version__
