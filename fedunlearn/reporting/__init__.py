"""What a run leaves for people: results.json, tables, TensorBoard, a report."""

from fedunlearn.reporting.artefacts import save_verdict
from fedunlearn.reporting.publish import publish, rebuild
from fedunlearn.reporting.results import read_results, write_results

__all__ = ["publish", "read_results", "rebuild", "save_verdict", "write_results"]
