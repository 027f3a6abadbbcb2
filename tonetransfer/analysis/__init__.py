"""Timbre in numbers and pictures. Open :mod:`~tonetransfer.analysis.describe` first."""
