"""Figures, and the HTML page of an evaluation or a scored list."""

from lumpylens.report.page import write_list_report, write_report

__all__ = ["write_list_report", "write_report"]
