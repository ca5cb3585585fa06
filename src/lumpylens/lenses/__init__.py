"""Real lenses, one by one: a staged fit of one cutout, and what is lumpy in it.

Lengths are in arcsec; x runs along columns and y along rows, both from the centre of the image.
"""
