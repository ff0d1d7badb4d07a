"""The page an operator leaves open: it reads files, and never the exchange."""
