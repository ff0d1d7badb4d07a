"""The hedge suite: one trading process and the rooms it is made of."""

__version__ = "6.0rc0"
