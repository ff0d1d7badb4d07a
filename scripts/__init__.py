"""Services and the `hedge` command."""
