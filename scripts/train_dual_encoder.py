"""Train a dual encoder of queries and products with in-batch negatives; keep the checkpoint best on held-out queries.

Runs alone or on several ranks; a run that was killed resumes from its last complete checkpoint. On TERM or Ctrl-C it
saves after the step, or after the validation that is running, and ends with exit code 143 or 130; a second Ctrl-C
ends it at once, without saving.
"""

from pathlib import Path

from catid2.config.base import parse, require_at_least, require_seed
from catid2.config.dual_encoder import DualEncoderConfig
from catid2.runtime.command import entry_point, keep_bars_out_of_logs, new_parser


@entry_point
def main() -> None:
    """Parse the command line and train."""
    parser = new_parser(__doc__)
    parser.add_argument(
        "--config", required=True, help="settings as JSON (catid2.config.dual_encoder.DualEncoderConfig)"
    )
    parser.add_argument("--products", required=True, type=Path, help="corpus/products.parquet")
    parser.add_argument("--queries", required=True, type=Path, help="corpus/queries.parquet")
    parser.add_argument("--judgements", required=True, type=Path, help="corpus/judgements.parquet")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and dropout (default 0)")
    parser.add_argument(
        "--checkpoints", required=True, type=Path, help="folder for the run's state, removed at the end"
    )
    parser.add_argument(
        "--output", required=True, type=Path, help="folder to write: model, tokenizer, history.tsv"
    )
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=600,
        help="time between two checkpoints within an epoch, in seconds; 0 takes one after every step (default 600)",
    )
    arguments = parser.parse_args()
    require_seed("--seed", arguments.seed)
    require_at_least("--checkpoint-seconds", arguments.checkpoint_seconds, 0)
    config = parse(DualEncoderConfig, arguments.config)

    # Imported late: a mistake in the settings should not wait for torch.
    from catid2.baselines.dual_encoder_training import Inputs, train_dual_encoder
    from catid2.runtime.writing import claim
    from catid2.training.distributed import process_group

    keep_bars_out_of_logs()
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
