"""Figures and HTML pages: of an evaluation, a scored list, an explanation, a fitted lens."""
