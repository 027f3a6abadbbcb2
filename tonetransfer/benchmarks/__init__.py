"""Measurements that fill the tables of the README and of docs/. Open :mod:`~tonetransfer.benchmarks.benchmark` first."""
