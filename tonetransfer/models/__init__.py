"""Encoder, decoder and their weights. Open :mod:`~tonetransfer.models.timbre_model` first."""
