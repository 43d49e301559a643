"""Train the model of the ``translate-numbers`` card, and measure its accuracy.

::

    python -m archon.train.synthetic.translate_numbers --output models/translate-numbers

The folder will contain the weights in bfloat16, the vocabulary, and ``training.json``. The last
file contains the settings, the loss every hundred steps, and the number of held-out numbers that
greedy decoding translates exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import islice
from pathlib import Path

import torch

from archon.engine.encoders.config import EncoderDecoderConfig
from archon.engine.encoders.decoding import greedy_texts
from archon.engine.encoders.encoder_decoder import EncoderDecoder, initialise
from archon.engine.encoders.weights import load_encoder_decoder, save_encoder_decoder
from archon.engine.files.folder import ModelFolder
from archon.train.bpe import END_ID, PADDING_ID, learn_vocabulary, save_vocabulary
from archon.train.optimization import Schedule, train
from archon.train.synthetic.numbers import held_out_numbers, pair, random_numbers
from archon.train.synthetic.seq2seq import pair_losses

VOCABULARY_SIZE = 512
_MAX_TOKENS = 48


def main(arguments: list[str] | None = None) -> int:
    """Train the model, save it, and measure the accuracy of the saved model."""
    args = _parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    started = time.monotonic()

    numbers = list(islice(random_numbers(args.seed, held_out=False), args.numbers))
    pairs = [pair(number) for number in numbers]
    tokenizer = learn_vocabulary((t for p in pairs for t in (p.english, p.french)), VOCABULARY_SIZE)
    token_pairs = [(tokenizer.encode(p.english).ids, tokenizer.encode(p.french).ids) for p in pairs]
    config = EncoderDecoderConfig(
        vocab_size=tokenizer.get_vocab_size(),
        num_encoder_layers=2,
        num_decoder_layers=2,
        width=128,
        ffn_width=512,
        num_heads=4,
        head_width=32,
        max_distance=64,
        start_id=PADDING_ID,
        stop_id=END_ID,
    )
    model = EncoderDecoder(config)
    initialise(model, args.seed)
    schedule = Schedule(num_steps=args.steps, learning_rate=args.learning_rate)
    curve = train(
        model,
        pair_losses(model, token_pairs, args.batch_size, args.seed),
        schedule,
        lambda step, loss: _report(step, loss, started),
    )
    train_seconds = time.monotonic() - started
    save_vocabulary(tokenizer, args.output)
    save_encoder_decoder(model, args.output, torch.bfloat16)

    # Load the saved weights, so that the test includes their rounding.
    model = load_encoder_decoder(ModelFolder(args.output))
    held_out = [pair(number) for number in held_out_numbers(args.test_numbers)]
    sources = [tokenizer.encode(p.english).ids for p in held_out]
    found = [tokenizer.decode(ids) for ids in greedy_texts(model, sources, _MAX_TOKENS)]
    num_right = sum(text == p.french for text, p in zip(found, held_out, strict=True))
    record = {
        "numbers": args.numbers,
        "batch_size": args.batch_size,
        "steps": args.steps,
        "learning_rate": args.learning_rate,
        "seed": args.seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_seconds": round(train_seconds, 1),
        "loss": [round(loss, 4) for loss in curve[::100]],
        "last_loss": round(sum(curve[-50:]) / len(curve[-50:]), 5),
        "held_out_numbers": len(held_out),
        "held_out_exact": num_right,
    }
    (args.output / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m archon.train.synthetic.translate_numbers",
        description="Train the model of the translate-numbers card, which translates numbers from "
        "English into French, and measure its accuracy on held-out numbers.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--output",
        type=Path,
        required=True,
        default=argparse.SUPPRESS,
        help="folder to write the model to",
    )
    add("--steps", type=int, default=1600, help="number of gradient steps")
    add("--batch-size", type=int, default=128, help="number of pairs per step")
    add("--numbers", type=int, default=60_000, help="size of the training set")
    add(
        "--test-numbers",
        type=int,
        default=2_000,
        help="number of held-out numbers to translate at the end",
    )
    add("--learning-rate", type=float, default=2e-3, help="peak learning rate")
    add("--seed", type=int, default=0, help="seed of the data and the initial weights")
    add(
        "--threads",
        type=int,
        default=1,
        help="number of CPU threads; a model this small hardly benefits from more",
    )
    return parser


def _report(step: int, loss: float, started: float) -> None:
    if step % 100 == 0:
        seconds = time.monotonic() - started
        print(f"step {step}: loss {loss:.4f}, {seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
