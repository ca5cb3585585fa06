"""Lens cutouts: the collection, its readers, the splits and the challenge's download."""

from lumpylens.data.images import ImageBatch, LensImage, LensImages

__all__ = ["ImageBatch", "LensImage", "LensImages"]
