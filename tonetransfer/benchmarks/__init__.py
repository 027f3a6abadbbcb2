"""Measurements that fill the tables of docs/. Open :mod:`~tonetransfer.benchmarks.benchmark` first."""
