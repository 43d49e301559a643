"""Put a function of your own into an architecture, and compare it with a plain vote.

Run it with ``python examples/own_model.py``; it needs no weights.
"""

import random

import archon


async def solve(messages: list[dict[str, str]], seed: int, temperature: float = 0.7) -> str:
    """Answer like a careless student. A real function would call a model here."""
    words = messages[-1]["content"].replace("?", " ").split()
    numbers = [int(word) for word in words if word.isdigit()]
    slip = random.Random(seed).choice([0, 0, 1])
    return f"The answer is {sum(numbers[-2:]) + slip}."


def main() -> None:
    """Build two graphs, ask one of them, and compare both on sums."""
    models = {"solver": solve}
    single = archon.graph("single-call", models=models).generator("answer")
    vote = archon.graph("vote-of-9", models=models).generator("draft", samples=9).vote("answer")
    print(vote.run("What is 17 + 25?").text)

    sums = [{"question": f"What is {a} + {a + 3}?", "answer": 2 * a + 3} for a in range(30)]
    found = archon.compare([vote.build(), single.build()], sums, split="all", progress=False)
    for row in found.rows:
        print(f"{row['name']}: {row['accuracy']:.0%} of {row['num_items']} items")
    pair = found.pairs[0]
    low, high = pair["interval"]
    print(
        f"difference {pair['difference']:+.0%} [{low:+.0%}, {high:+.0%}], p {pair['p_value']:.2g}"
    )


if __name__ == "__main__":
    main()
