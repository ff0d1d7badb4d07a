"""Costs of the suite, each as a ratio to the bare work, measured in one run."""
