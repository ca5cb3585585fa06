"""Figures and the HTML page of an evaluation."""

from lumpylens.report.page import write_report

__all__ = ["write_report"]
