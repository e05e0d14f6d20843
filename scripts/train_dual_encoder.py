"""Train a dual encoder of queries and products with in-batch negatives; keep the checkpoint best on held-out queries.

Runs alone or on several ranks; a run that was killed resumes from its last complete checkpoint. On TERM or Ctrl-C it
saves after the step, or after the validation that is running, and ends with exit code 143 or 130; a second Ctrl-C
ends it at once, without saving.
"""

from catid2.config.base import parse
from catid2.config.dual_encoder import DualEncoderConfig
from catid2.runtime.command import entry_point, new_parser
from catid2.training.options import add_options, parse_options


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of DualEncoderConfig")
    add_options(parser, "model, tokenizer, history.tsv")
    arguments = parse_options(parser)
    config = parse(DualEncoderConfig, arguments.config)

    # Imported late: a mistake in the settings should not wait for torch.
    from catid2.baselines.dual_encoder_training import Inputs, train_dual_encoder
    from catid2.runtime.writing import claim
    from catid2.training.distributed import process_group

    inputs = Inputs(arguments.products, arguments.queries, arguments.judgements)
    with claim(arguments.output), process_group() as group:
        train_dual_encoder(
            config,
            inputs,
            arguments.checkpoints,
            arguments.output,
            arguments.seed,
            arguments.checkpoint_seconds,
            group,
        )


if __name__ == "__main__":
    main()
