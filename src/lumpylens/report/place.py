"""Names of what every report's folder holds."""

__all__ = ["IMAGES", "PAGE"]

PAGE, IMAGES = "report.html", "images"
