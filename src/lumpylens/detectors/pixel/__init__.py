"""`pixel`: a network that tells plain images from changed ones, and no lens model."""
