"""Names of instruments as people write them."""

from __future__ import annotations

from collections.abc import Sequence

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


def find_name(name: str, names: Sequence[str]) -> str:
    """Find the name that is meant; spaces, capitals and common synonyms are understood.

    Raises
    ------
    InstrumentError
        Names the nearest one.
    """
    wanted = "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
    wanted = wanted if wanted in names else SYNONYMS.get(wanted, wanted)
    if wanted in names:
        return wanted
    known = [*names, *(synonym for synonym, meant in SYNONYMS.items() if meant in names)]
    near = nearest(wanted, known, cutoff=0.5) or ""
    hint = f"did you mean {SYNONYMS.get(near, near)}? " if near else ""
    raise InstrumentError(f"no instrument is called {name!r}; {hint}`tonetransfer instruments` lists all {len(names)}")
