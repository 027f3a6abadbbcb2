"""What can go wrong, in words for the person who can put it right.

Every message says what came, what was wanted and what to do, in one line. The command line prints it
without a traceback and exits with 1; a caller from Python catches :class:`ToneTransferError` for all of them.
"""


class ToneTransferError(Exception):
    """Root of every error that this package raises on purpose."""


class ToneTransferWarning(UserWarning):
    """Something went on, but the result may not be what was hoped for."""


class AudioError(ToneTransferError):
    """A recording cannot be read, written, or is not something to work on."""


class ControlsError(ToneTransferError):
    """Controls (f0, periodicity, loudness) are malformed or do not fit the model's grid."""


class InstrumentError(ToneTransferError):
    """An instrument, tracker or blend was asked for that does not exist."""


class WeightsError(ToneTransferError):
    """A weights file is missing, truncated, foreign or of another version."""


class SettingsError(ToneTransferError):
    """A setting has a value or a name that is not understood."""


class MissingDependencyError(ToneTransferError):
    """Something outside this package is needed and not installed; the message says how to install it."""


class ExportError(ToneTransferError):
    """An export cannot be made, or failed its own test."""
