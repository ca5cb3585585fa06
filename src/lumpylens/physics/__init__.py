"""Physics of a smooth lens: deflection, light, instrument, noise, population and inference.

Pure functions and frozen objects on torch tensors. Lengths are in pixels unless a name says
otherwise; x runs along columns and y along rows, both from the centre of the image.
"""
