"""Names of instruments as people write them, and as General MIDI numbers them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import InstrumentError, nearest

SYNONYMS = {
    "sax": "alto_sax",
    "saxophone": "alto_sax",
    "soprano_saxophone": "soprano_sax",
    "alto_saxophone": "alto_sax",
    "tenor_saxophone": "tenor_sax",
    "baritone_saxophone": "baritone_sax",
    "bari_sax": "baritone_sax",
    "french_horn": "horn",
    "cor_anglais": "english_horn",
    "double_bass": "contrabass",
    "upright_bass": "contrabass",
    "bass": "contrabass",
    "violoncello": "cello",
    "fiddle": "violin",
    "blockflute": "recorder",
    "panpipe": "pan_flute",
    "panflute": "pan_flute",
    "pipe_organ": "organ",
    "church_organ": "organ",
    "mouth_organ": "harmonica",
    "voice": "voice_aah",
    "choir": "voice_aah",
    "humming": "voice_ooh",
    # as version 0.1 called them
    "cello_bigcat": "cello_2",
    "cello_winer": "cello_3",
    "contrabass_dsm": "contrabass_2",
    "contrabass_meat": "contrabass_3",
    "alto_sax_mtg": "alto_sax_2",
    "alto_sax_were": "alto_sax_3",
    "baritone_sax_bear": "baritone_sax_3",
    "baritone_sax_mtg": "baritone_sax_2",
    "soprano_sax_mtg": "soprano_sax",
    "tenor_sax_mtg": "tenor_sax_2",
    "bassoon_winer": "bassoon_3",
    "flute_ixox": "flute_2",
    "tuba_war": "tuba_2",
    "shenai": "shehnai",
}
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


def find_name(name: str, names: Sequence[str]) -> str:
    """Find the name that is meant; spaces, capitals and common synonyms are understood. InstrumentError names the nearest one."""
    if not isinstance(name, str):
        raise InstrumentError(f"an instrument is called {name!r}; its name is wanted, for example 'violin'")
    wanted = "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
    wanted = wanted if wanted in names else SYNONYMS.get(wanted, wanted)
    if wanted in names:
        return wanted
    known = [*names, *(synonym for synonym, meant in SYNONYMS.items() if meant in names)]
    near = nearest(wanted, known, cutoff=0.5) or ""
    hint = f"did you mean {SYNONYMS.get(near, near)}? " if near else ""
    raise InstrumentError(f"no instrument is called {name!r}; {hint}`tonetransfer instruments` lists all {len(names)}")


def player(program: int) -> str | None:
    """Name of the bundled instrument for a program, counted from 0; None for what has no pitch."""
    return None if PLAYERS[program] == "-" else PLAYERS[program]


def players_performance(performance: str, player: str) -> str:
    """Name of a player's performance in a corpus, where it stands once more under the name of the instrument."""
    return f"{performance}+{player}"


def is_players(performance: str, names: Collection[str]) -> bool:
    """Test whether a performance is that of one of the named players, under the name of the instrument."""
    _, mark, player = performance.rpartition("+")
    return bool(mark) and player in names
