"""`physics`: fits a smooth lens to each image and looks for what it leaves."""
