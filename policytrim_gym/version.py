"""The one place that holds the version; setup.py reads it, tests hold package.xml and CITATION.cff to it."""

__version__ = "0.1.0"
