"""From parameters to sound: harmonics, filtered noise, rooms. Open :mod:`~tonetransfer.synthesis.render` first."""
