"""The command line: a module for each group of verbs. Open :mod:`~tonetransfer.cli.main` first, for a verb the module that it names."""
