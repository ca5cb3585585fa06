"""The errors a user can act on.

Each carries one line that says what is wrong, where, and what to do. The command line prints
that line and exits with status 2; a traceback appears only with ``--debug``.
"""

__all__ = ["DataError", "DataWarning", "LumpylensError", "ModelError"]


class LumpylensError(Exception):
    """A mistake in what was asked, in words for the person who asked."""


class DataError(LumpylensError):
    """Images, files or downloads that cannot be used."""


class ModelError(LumpylensError):
    """A model folder, detector name or setting that cannot be used."""


class DataWarning(UserWarning):
    """Something was done, but not as the file has it or as the user may have meant it."""
