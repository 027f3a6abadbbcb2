"""Corpora that are rendered, and users' own recordings that are checked and prepared. Open :mod:`~tonetransfer.data.render_corpus`
first for the former, :mod:`~tonetransfer.data.prepare` for the latter."""
