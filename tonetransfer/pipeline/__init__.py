"""From a recording to the same recording on another instrument. Open :mod:`~tonetransfer.pipeline.transfer` first."""
