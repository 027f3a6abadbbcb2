"""A page with tables, sounds and pictures of transfers. Open :mod:`~tonetransfer.evaluation.report.build` first."""
