"""Sound files, sample rates, the frame grid, spectra and loudness. Open :mod:`~tonetransfer.audio.files` first."""
