"""Every detector on the same images under the same protocol, in one table."""
