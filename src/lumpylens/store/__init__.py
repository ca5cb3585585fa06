"""The model: its folder on disk, its packed file, and the models that come with the package."""
