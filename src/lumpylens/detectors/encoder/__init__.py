"""`encoder`: reads the numbers of a lens off its image in one pass of a network."""
