"""The reconstruction detectors of the challenge's paper: DCAE, VAE, AAE and RBM."""
