"""A fitted lens in the conventions of other codes: COOLEST, lenstronomy and PyAutoLens."""
