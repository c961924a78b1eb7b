"""ABC (Walshaw's standard, 2.1): its common part, read into tunes, and tunes written in it.

Read are key and metre, the unit of length, notes with octaves, accidentals and lengths, rests, bars, repeats and
endings, chords in brackets and chord symbols, ties, tuplets and broken rhythm. Passed over: decorations, grace notes,
slurs, words, remarks. What else there is (several voices, overlays, macros) is refused by name.
"""
