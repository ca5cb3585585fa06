"""The one training loop, on Lightning. It does not know which detector it trains."""
