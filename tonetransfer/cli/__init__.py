"""The command line. Open :mod:`~tonetransfer.cli.main` first."""
