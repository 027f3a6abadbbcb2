"""f0, periodicity and loudness of a performance, and how they are made playable for an instrument. Open
:mod:`~tonetransfer.controls.controls` first."""
