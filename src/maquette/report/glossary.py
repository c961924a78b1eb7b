"""What each number means, for somebody who has never trained a generative model."""

from __future__ import annotations

from collections.abc import Sequence

# What is logged while training. Keys are phases or parts of `phase/part`.
PHASES: dict[str, str] = {
    "d": "The discriminator (critic): learns to tell real items from made ones",
    "g": "The generator: learns to make items that the discriminator takes for real",
    "r1": "Regularisation of the discriminator, done now and then",
    "elbo": "Encoder and decoder, learning together to rebuild items through a small code",
    "vae": "Encoder and decoder, learning together to rebuild items through a small code",
    "nll": "The model, learning to predict each next token",
    "gate": "The gate: learns how much each member counts; the members stay as they are",
    "critic": "The critic: learns to tell real continuations of a sequence from the writer's",
    "preview": "Measured on the previews",
    "val": "Measured on held-out data",
    "run": "The run itself",
}

PARTS: dict[str, str] = {
    "critic/accuracy": "share of continuations, real and written, that it tells right; 0.5 is guessing",
    "critic/nats": "its surprise at which are real, in nats per judgement; 0.69 is guessing",
    "gate/nats_per_token": "surprise of all members together at each token of the training data",
    "loss": "what is minimised",
    "total": "what is minimised",
    "accuracy": "share of real and made items told apart; stuck at 1 means the generator has lost",
    "grad_norm": "length of the gradient; near 0, nothing is learned",
    "lr": "learning rate",
    "real": "score of real items",
    "fake": "score of generated items",
    "r1": "slope of the critic at real items",
    "r2": "slope of the critic at generated items",
    "kl": "cost of the code, nats per item",
    "kl_nats": "cost of the code, nats per item",
    "diversity": "1 is as varied as the data, 0 is one item for each class",
    "active_units": "numbers of the code that are used",
    "nats_per_token": "surprise at each token of the training data",
    "held_out_nats": "surprise at each token of a fixed piece of held-out data; rising means over-fitting",
    "repetition": "share of a sample that repeats itself, less that of real data; near 0 is as real",
    "copied": "share of a sample that stands in the training data, less that of held-out data; near 0 is as real",
    "items_per_second": "speed",
    "items_per_s": "speed",
    "waited_seconds": "time spent waiting for data",
    "elbo_nats": "lower bound on the log-likelihood, nats per item",
    "reconstruction_nats": "how well items are rebuilt, nats per item",
}


def phase_title(phase: str) -> str:
    """What a phase of training is called on a page."""
    return PHASES.get(phase, f"Phase “{phase}”")


def part_note(phase: str, part: str, members: Sequence[str] = ()) -> str:
    """What a logged value is. members: names of the runs that `member_0`, `member_1`, ... stand for."""
    number = part.removeprefix("member_")
    if number != part and number.isdecimal() and int(number) < len(members):
        return f"surprise of {members[int(number)]} alone at each token of the training data"
    return PARTS.get(f"{phase}/{part}", PARTS.get(part, ""))
