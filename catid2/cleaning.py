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
    """Return what two texts share that differ in nothing but case, compatibility forms (NFKC) and white space.

    Queries with the same key are one query, and no split may part them.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return clean_text(unicodedata.normalize("NFKC", folded), markup=False) or ""
