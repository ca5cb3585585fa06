"""Real lenses: a staged fit of one cutout at a time, and the search for a perturber in it.

Lengths are in arcsec; x runs along columns and y along rows, both from the centre of the image.
"""
