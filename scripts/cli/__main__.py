"""Run `hedge` as a module, in a checkout whose command is not installed."""

from scripts.cli import main

main()
