"""Train the retriever, from queries and documents to DocIDs; keep the checkpoint best on held-out queries.

T5 reads texts and runs alone or on several ranks; the light retriever reads --embeddings, in one process. A run that
was killed resumes from its last complete checkpoint. On TERM or Ctrl-C it saves after the step, or after the validation
that is running, and ends with exit code 143 or 130; a second Ctrl-C ends it at once, without saving.
"""

from pathlib import Path

from catid2.config.base import parse
from catid2.config.retriever import AnyRetriever
from catid2.runtime.command import OPTIONAL_PATH, entry_point, new_parser
from catid2.runtime.errors import InputError
from catid2.training.options import add_options, parse_options


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON (catid2.config.retriever)")
    add_options(parser, "model, history.tsv, tokenizer of T5")
    parser.add_argument("--docids", required=True, type=Path, help="docids.parquet of the method")
    vectors = "VIEW.npy, with VIEW_queries.npy next to it, for the light retriever"
    parser.add_argument("--embeddings", **OPTIONAL_PATH, help=vectors)
    arguments = parse_options(parser)
    config = parse(AnyRetriever, arguments.config)
    if config.reads_vectors != (arguments.embeddings is not None):
        what = f"a {config.kind} retriever reads {'the' if config.reads_vectors else 'no'} vectors of a view"
        raise InputError("--embeddings", what, "give VIEW.npy" if config.reads_vectors else "leave it out")

    # Imported late: a mistake in the settings should not wait for torch.
    from catid2.runtime.writing import claim

    corpus = (arguments.products, arguments.queries, arguments.judgements, arguments.docids)
    run = (arguments.checkpoints, arguments.output, arguments.seed)
    with claim(arguments.output):
        if config.kind == "light":
            from catid2.retriever.light_training import Inputs, train_light

            inputs = Inputs(*corpus, arguments.embeddings)
            train_light(config, inputs, *run, arguments.checkpoint_seconds)
            return
        from catid2.retriever.t5_training import Inputs, train_retriever
        from catid2.training.distributed import process_group

        with process_group() as group:
            train_retriever(config, Inputs(*corpus), *run, arguments.checkpoint_seconds, group)


if __name__ == "__main__":
    main()
