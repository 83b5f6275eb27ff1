"""Words of a text, character by character: the slow reading that the arrays are compared with.

Which character is what is written down by hand for the ones that tests use.
"""

from __future__ import annotations

OWN = "漢字仮名文私は日本語コードですー々〇ﾊ𠀀กขสวด๑ແລກမဗកម"
MARKS = "ิ่ี็ៅ្ြ゙ﾟ"
SIGNS = "。、，「」！・：（）។"
SPACES = "\u3000"
SPACED = "éßжהक한글—"  # letters, and what was always taken for one, of scripts with spaces
ALPHABET = OWN + MARKS + SIGNS + SPACES + SPACED + "ab9_ \n(.-"


def plain_words(text: str, signs: bool) -> list[str]:
    """The words of a text; with `signs`, also every other character that is not white space."""
    words: list[str] = []
    before = ""  # the kind of the character before
    for character in text:
        if character in " \t\n\v\f\r" + SPACES:
            kind = "space"
        elif character in SIGNS:
            kind = "own" if signs else "space"
        elif character in OWN:
            kind = "own"
        elif character in MARKS:
            kind = "mark"
        elif character.isascii() and not (character.isalnum() or character == "_"):
            kind = "sign" if signs else "space"
        else:
            kind = "word"
        if kind in ("own", "sign"):
            words.append(character)
        elif kind == "mark":
            if before in ("own", "mark"):
                words[-1] += character
            else:
                words.append(character)
        elif kind == "word":
            if before == "word":
                words[-1] += character
            else:
                words.append(character)
        before = kind
    return words
