"""Metrics of transferred sound, and the report of them. Open :mod:`~tonetransfer.evaluation.metrics` first."""
