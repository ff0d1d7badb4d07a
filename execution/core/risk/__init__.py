"""Risk: every limit explicit, prospective and fail-closed."""
