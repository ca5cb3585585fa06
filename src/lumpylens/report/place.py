"""Names of the page and of the folder of images in every report."""

__all__ = ["IMAGES", "PAGE"]

PAGE, IMAGES = "report.html", "images"
