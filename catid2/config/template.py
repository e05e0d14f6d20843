"""The template language of texts: parses `"{title}. {brand} {color}"`, and names its fields and tokenizers."""

import re
import string
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator

from catid2.runtime.tables import TEXT_FIELDS

Tokenizer = Literal["words", "words_cjk_bigrams"]

# The default template: the category first, so that a cut text keeps it.
WITH_CATEGORY = "{category_path}. {title}. {brand} {color}. {bullets} {description}"

CATEGORY_FIELD = re.compile(r"category_[1-9]")


class Template(NamedTuple):
    """A parsed text template: `opening`, then each field with the literal text that follows it."""

    opening: str
    fields: tuple[tuple[str, str], ...]


def parse_template(template: str) -> Template:
    """Parse a template such as `"{category_path}. {title}. {brand} {color}"`.

    Fields are those of TEXT_FIELDS, `category_path` (the names of all levels joined by " > ") and
    `category_1`, `category_2`, … (the name at one level).

    Raises:
        ValueError: a field is unknown or carries a format, braces do not match, or there is no field.
    """
    opening, fields = "", []
    # Formatter yields (literal, field after it); a field is stored with the literal that comes next.
    for literal, field, form, conversion in string.Formatter().parse(template):
        if fields:
            fields[-1] = (fields[-1][0], literal)
        else:
            opening = literal
        if field is None:
            continue
        if form or conversion:
            raise ValueError(f"template field {field!r} carries a format; write {{{field}}}")
        if field not in (*TEXT_FIELDS, "category_path") and not CATEGORY_FIELD.fullmatch(field):
            allowed = ", ".join((*TEXT_FIELDS, "category_path", "category_1", "category_2", "…"))
            raise ValueError(f"unknown template field {field!r}; allowed: {allowed}")
        fields.append((field, ""))
    if not fields:
        raise ValueError("the template names no field")
    return Template(opening, tuple(fields))


def _checked(template: str) -> str:
    parse_template(template)
    return template


TemplateText = Annotated[str, AfterValidator(_checked)]  # a text that is a template
