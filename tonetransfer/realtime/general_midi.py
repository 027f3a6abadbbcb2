"""Programs of General MIDI, and who plays them here."""

from __future__ import annotations

# For every program, in General MIDI's order and in its groups of eight, the bundled instrument that is nearest to it;
# "-" for percussion without pitch and for sound effects, which nobody plays.
TABLE = """
    harp harp harp harp vibraphone vibraphone harp harp
    vibraphone vibraphone vibraphone vibraphone marimba marimba vibraphone harp
    organ organ organ organ reed_organ accordion harmonica bandoneon
    acoustic_guitar acoustic_guitar archtop_guitar archtop_guitar archtop_guitar archtop_guitar archtop_guitar archtop_guitar
    contrabass contrabass contrabass contrabass contrabass contrabass contrabass contrabass
    violin viola cello contrabass string_tremolo pizzicato_strings harp marimba
    string_ensemble string_ensemble string_ensemble string_ensemble voice_aah voice_ooh voice_aah brass_section
    trumpet trombone tuba muted_trumpet horn brass_section brass_section brass_section
    soprano_sax alto_sax tenor_sax baritone_sax oboe english_horn bassoon clarinet
    piccolo flute recorder pan_flute bottle shakuhachi whistle ocarina
    clarinet trumpet pan_flute pan_flute acoustic_guitar voice_solo brass_section contrabass
    string_ensemble string_ensemble brass_section voice_aah string_ensemble vibraphone voice_ooh string_ensemble
    vibraphone string_ensemble vibraphone acoustic_guitar string_ensemble voice_ooh string_ensemble string_ensemble
    acoustic_guitar acoustic_guitar acoustic_guitar harp marimba bagpipe fiddle shehnai
    vibraphone - vibraphone - - - - -
    - - - - - - - -
"""
PLAYERS = TABLE.split()


def player(program: int) -> str | None:
    """Name of the bundled instrument for a program, counted from 0; None for what has no pitch."""
    return None if PLAYERS[program] == "-" else PLAYERS[program]
