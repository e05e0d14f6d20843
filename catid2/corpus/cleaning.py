"""Clean the text that people and scrapers wrote: HTML, entities, control characters, white space."""

import html
import re
import unicodedata

# A tag opens with a letter right after `<` or `</`, so that "<3" and "a < b" stay text.
_MARKUP = re.compile(
    r"<(script|style)\b[^>]*>.*?</\1\s*>|<!--.*?-->|</?[a-z][^<>]*>", re.IGNORECASE | re.DOTALL
)
# Only with its semicolon: HTML also decodes "&reg" inside "&registered", which is no entity in a shop's text.
_ENTITY = re.compile(r"&#?\w+;")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def clean_text(text: str | None, markup: bool = True) -> str | None:
    """Return one line of plain text, or None if nothing is left of it.

    In this order: scripts, style sheets, comments and tags become a space, entities are decoded once (both only
    if `markup`), control characters become spaces, and runs of white space (Unicode's) become one space.
    """
    if text is None:
        return None
    if markup and "<" in text:
        text = _MARKUP.sub(" ", text)
    if markup and "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
    # Two cheap looks spare most texts the rest: a printable text has no white space but " ", and no controls.
    if "  " in text or not text.isprintable():
        text = " ".join(text.split())
        if not text.isprintable():
            text = " ".join(_CONTROL.sub(" ", text).split())
    return text.strip() or None


def text_key(text: str) -> str:
    """Return a key that ignores case, compatibility forms (NFKC) and white space.

    Queries with the same key are one query, and always in the same split.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return clean_text(unicodedata.normalize("NFKC", folded), markup=False) or ""


# Written without a trace on the page: zero-width spaces, directions, byte order marks, soft hyphens.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
# They join or part letters of Arabic and Indic scripts, so they show; whether they are written is a matter of taste.
_JOINERS = re.compile("[\u200c\u200d]")


def clean_name(name: str) -> str:
    """Return the name of a category or a tag as it is shown; "" if nothing is left.

    In this order: entities are decoded once, invisible characters removed, letters and their accents composed (NFC),
    control characters turned into spaces, and runs of white space into one.
    """
    if "&" in name:
        name = _ENTITY.sub(lambda entity: html.unescape(entity.group()), name)
    if not name.isascii():
        name = unicodedata.normalize("NFC", _INVISIBLE.sub("", name))
    return " ".join(_CONTROL.sub(" ", name).split())


def name_key(name: str) -> str:
    """Return the key of all spellings of a category's name: `text_key` of the clean name without joiners."""
    return text_key(_JOINERS.sub("", clean_name(name)))
