"""Fetch a pretrained model from the Hugging Face hub: the files that are read, of one commit, checked.

HF_ENDPOINT names another hub, HF_TOKEN a token for gated and private models, HF_HOME the hub's folder of this machine.
"""

import logging
from pathlib import Path

from catid2.config.base import parse
from catid2.config.pretrained import RECORD, PretrainedModel
from catid2.pretrained.fetch import fetch_model
from catid2.runtime.command import entry_point, new_parser


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of PretrainedModel")
    parser.add_argument("--output", required=True, type=Path, help=f"folder for the files and {RECORD}")
    arguments = parser.parse_args()
    for library in ("httpx", "httpx2"):  # a line for each request
        logging.getLogger(library).setLevel(logging.WARNING)
    config = parse(PretrainedModel, arguments.config)
    fetch_model(config, arguments.output)


if __name__ == "__main__":
    main()
