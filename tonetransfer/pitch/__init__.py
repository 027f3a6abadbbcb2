"""f0 and voicing of recordings, and of sound as it comes. Open :mod:`~tonetransfer.pitch.tracking` first."""
