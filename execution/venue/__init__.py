"""The venue seam: exchanges and markets, real and simulated."""
