"""The report of a run, and the comparison of several: one self-contained page each."""

from maquette.report.compare import Comparison, compare
from maquette.report.report import write_report

__all__ = ["Comparison", "compare", "write_report"]
