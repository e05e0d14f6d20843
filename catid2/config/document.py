"""Write config/README.md and the JSON schema from the models: `python -m catid2.config.document`."""

import json
from pathlib import Path
from typing import Any

from catid2.config.file import PipelineConfig

SCHEMA = Path("workflow/schemas/config.schema.json")
README = Path("config/README.md")
INTRODUCTION = """# Configuration

`config.yaml` is the paper's run on ESCI, `sample.yaml` a run on a small sample of ESCI, `demo.yaml` the offline demo
on simulated files. A `--configfile` replaces `config.yaml` completely. Threads, memory and GPUs are set in
`workflow/profiles`.

A stage takes its defaults below, then the keys of the dataset (`datasets.NAME.rqvae`), then the keys of the
method (`methods.NAME.rqvae`). If you change a key, the stages that read it run again, and those that use their
results. Methods that have the same settings up to a stage share the files of that stage.

`make document` writes this page and `workflow/schemas/config.schema.json` from the models in `catid2/config`.
"""


def schema() -> str:
    """Return the JSON schema of a configuration file."""
    return json.dumps(PipelineConfig.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def readme() -> str:
    """Return config/README.md: every key with its type, default and meaning."""
    root = PipelineConfig.model_json_schema()
    definitions = root["$defs"]
    parts = [INTRODUCTION, *_section("The file", root)]
    for name, definition in definitions.items():
        if "properties" in definition:
            parts += _section(name, definition)
    return "\n".join(parts) + "\n"


def _section(title: str, definition: dict[str, Any]) -> list[str]:
    lines = [f"## {title}", "", " ".join(definition.get("description", "").split()), ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, field in definition["properties"].items():
        default = "required" if "default" not in field else f"`{_short(field['default'])}`"
        meaning = " ".join(field.get("description", "").split())
        cells = [f"`{key}`", _kind(field), default, meaning]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "{}" if not value else "see below"
    return json.dumps(value, ensure_ascii=False)


def _kind(field: dict[str, Any]) -> str:
    """Return the type of a field in words, with its limits."""
    for word in ("anyOf", "oneOf"):
        if word in field:
            return " or ".join(_kind(option) for option in field[word])
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return " or ".join(json.dumps(value) for value in field["enum"])
    if "const" in field:
        return json.dumps(field["const"])
    kind = field.get("type", "any")
    if kind == "array":
        inner = field.get("items") or (field.get("prefixItems") or [{}])[0]
        return f"list of {_kind(inner)}"
    entries = [field.get("additionalProperties"), *field.get("patternProperties", {}).values()]
    if kind == "object" and isinstance(entries[-1], dict):
        return f"names to {_kind(entries[-1])}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[key]}" for key, sign in signs.items() if key in field]
    return " ".join([kind, *limits])


def main() -> None:
    """Write both files below the current folder."""
    SCHEMA.parent.mkdir(parents=True, exist_ok=True)
    SCHEMA.write_text(schema(), encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")


if __name__ == "__main__":
    main()
