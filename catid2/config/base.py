"""What all stage models share: strict validation, and one-line errors that name the key and the remedy."""

import functools
import json
import os.path
import sys
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from catid2.runtime.errors import InputError, did_you_mean

LARGEST_NUMBER = 2**53  # beyond it a JSON number is no longer exact
LARGEST_SEED = 2**32 - 1  # of transformers.set_seed; NumPy and PyTorch take more
Label = Literal["E", "S", "C", "I"]  # of ESCI
# A path as a shell takes it that expands `~` and nothing else.
UserPath = Annotated[str, Field(min_length=1), AfterValidator(os.path.expanduser)]


class StageConfig(BaseModel):
    """Base of every stage model: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _fits_a_number(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            raise ValueError(f"should be at most {LARGEST_NUMBER}")
        return value


Model = TypeVar("Model", bound=BaseModel)
# An adapter of a union takes milliseconds to make, and a study of hundreds of methods asks for thousands.
_adapter = functools.cache(TypeAdapter)


def validate(model: type[Model], values: Any, where: str) -> Model:
    """Return `values` as a `model`, which may be a union of models that differ in `kind`.

    Raises:
        InputError: names `where` (a file, or a file and the key that holds `values`), the first wrong key,
            and what is allowed there.
    """
    try:
        return _adapter(model).validate_python(values)
    except ValidationError as error:
        raise InputError(where, *_explain(model, error)) from None


def parse(model: type[Model], text: str) -> Model:
    """Return the JSON `text` of a script's `--config` as a `model`; errors as `validate`.

    "-" reads the JSON from standard input: an argument of a command holds 128 KiB on Linux, a large study needs more.
    """
    try:
        values = json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:  # of a number of thousands of digits, too
        raise InputError(
            "--config", f"not JSON: {error}", "pass the stage's settings as one JSON object"
        ) from None
    return validate(model, values, "--config")


def require_at_least(option: str, value: float, least: float) -> None:
    """Raise InputError, naming the script's `option`, unless its value is a number of `least` or more."""
    if not value >= least:  # so that NaN is none either
        raise InputError(option, f"{value} is not a number of {least} or more", f"give {least} or more")


def require_seed(option: str, value: int) -> None:
    """Raise InputError, naming the script's `option`, unless its value is a seed that all libraries accept."""
    if not 0 <= value <= LARGEST_SEED:
        raise InputError(option, f"{value} is not in 0..{LARGEST_SEED}", "give 0 or more, below 2^32")


def _explain(model: type[BaseModel], error: ValidationError) -> tuple[str, str]:
    first = error.errors(include_url=False)[0]
    keys, allowed = _place(model, first["loc"])
    key = ".".join(keys)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] in ("extra_forbidden", "missing"):
        unknown = first["type"] == "extra_forbidden"
        hint = did_you_mean(keys[-1], allowed) if unknown else ""
        what = "unknown key" if unknown else "missing key"
        return f"{what} {key!r}{more}", f"{hint}allowed keys: {', '.join(sorted(allowed))}"
    message = first["msg"].removeprefix("Value error, ")
    got = "" if isinstance(first.get("input"), dict) else f", got {first.get('input')!r}"
    place = f"key {key!r}: " if key else ""
    return f"{place}{message}{got[:200]}{more}", "config/README.md has every key and its values"


def _place(model: type[BaseModel], loc: tuple) -> tuple[list[str], set[str]]:
    """Return the keys of `loc` without the tags of unions, and the names allowed in the place of the last one."""
    schema = TypeAdapter(model).json_schema()
    node: dict = schema
    keys: list[str] = []
    names: set[str] = set()
    for part in map(str, loc):
        while "$ref" in node or "anyOf" in node:
            if "$ref" in node:
                node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
            else:
                node = next((option for option in node["anyOf"] if "$ref" in option or "items" in option), {})
        tags = node.get("discriminator", {}).get("mapping", {})
        if part in tags:
            node = {"$ref": tags[part]}
            continue
        keys.append(part)
        names = set(node.get("properties", {}))
        entries = [
            node.get("additionalProperties"),
            *node.get("patternProperties", {}).values(),
            node.get("items"),
        ]
        inner = [node.get("properties", {}).get(part), *entries]
        node = next((option for option in inner if isinstance(option, dict)), {})
    return keys, names
