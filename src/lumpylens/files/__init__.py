"""What any part of the package writes: tables, whole files and folders, progress on a terminal."""
