"""Block by block: from a microphone or a MIDI keyboard to the loudspeaker. Open :mod:`~tonetransfer.realtime.stream` first."""
