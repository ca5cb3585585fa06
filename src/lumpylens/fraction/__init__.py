"""How much of the mass is substructure, from many lenses: likelihood of each, posterior of all."""
