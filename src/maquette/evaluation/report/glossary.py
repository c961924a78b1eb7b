"""What each number means, for somebody who has never trained a generative model."""

from __future__ import annotations

# What each metric of an evaluation asks, by its name.
METRICS: dict[str, str] = {
    "frechet": "How far the crowd of generated pictures is from the crowd of real ones, compared as two clouds of "
    "features. 0 would be the same cloud. It only means something beside its floor and with the same "
    "feature network.",
    "kernel": "The same question as the Fréchet distance, asked without assuming that the clouds are bell-shaped; "
    "it is steadier when there are few pictures. 0 means no difference was found.",
    "two_sample": "A classifier is trained to tell real from generated pictures and tried on new ones. 50 % means it "
    "can only guess, which is the best a generator can do; 100 % means it always knows.",
    "precision": "Share of generated pictures that look like some real picture. Low: many samples are not believable.",
    "recall": "Share of real pictures that the generator could have made. Low: whole kinds of pictures are missing.",
    "density": "How deep inside the regions of real pictures the samples lie. Like precision, but less easily fooled "
    "by one odd real picture; values near its floor are as good as real.",
    "coverage": "Share of real pictures that have a sample in their neighbourhood. Low: the generator repeats itself.",
    "class_accuracy": "Ask for a class, and let a classifier trained on real pictures say what came out: the share it "
    "agrees with.",
    **dict.fromkeys(
        ("class_shares", "missing_classes"),
        "Whether every class appears among the samples as often as in the data. A generator that forgets a "
        "class has dropped a part of the world.",
    ),
    "copies": "Share of samples that lie closer to a training picture than new real pictures do. Well above the "
    "floor means that the model repeats what it was shown instead of making something new.",
    "elbo": "A lower bound on how probable the model finds unseen pictures, in nats: how well it rebuilds them, "
    "minus what the code costs.",
    **dict.fromkeys(
        ("iwae", "iwae_large"),
        "How probable the model finds pictures it has never seen, in nats per picture; higher is better. A "
        "lower bound that tightens with the number of importance samples.",
    ),
    "bits_per_dim": "How many bits each pixel would cost if the model were used to compress unseen pictures.",
    "active_units": "How many numbers of the latent code the model really uses. Very few means that it ignores its "
    "code (posterior collapse).",
    "reconstruction": "How far a picture is from itself after it was squeezed through the latent code.",
}

# What is logged while training. Keys are phases or parts of `phase/part`.
PHASES: dict[str, str] = {
    "d": "The discriminator (critic): learns to tell real pictures from made ones",
    "g": "The generator: learns to make pictures that the discriminator takes for real",
    "r1": "Regularisation of the discriminator, done now and then",
    "elbo": "Encoder and decoder, learning together to rebuild pictures through a small code",
    "vae": "Encoder and decoder, learning together to rebuild pictures through a small code",
    "preview": "Measured on the preview pictures",
    "val": "Measured on held-out data",
    "run": "The run itself",
}

PARTS: dict[str, str] = {
    "loss": "what is minimised",
    "total": "what is minimised",
    "accuracy": "share of real and made pictures told apart; stuck at 1 means the generator has lost",
    "grad_norm": "length of the gradient; near 0, nothing is learned",
    "lr": "learning rate",
    "real": "score of real pictures",
    "fake": "score of generated pictures",
    "r1": "slope of the critic at real pictures",
    "r2": "slope of the critic at generated pictures",
    "kl": "cost of the code, nats per picture",
    "kl_nats": "cost of the code, nats per picture",
    "diversity": "1 is as varied as the data, 0 is one picture for each class",
    "active_units": "numbers of the code that are used",
    "items_per_second": "speed",
    "items_per_s": "speed",
    "waited_seconds": "time spent waiting for data",
    "elbo_nats": "lower bound on the log-likelihood, nats per picture",
    "reconstruction_nats": "how well pictures are rebuilt, nats per picture",
}


def phase_title(phase: str) -> str:
    return PHASES.get(phase, f"Phase “{phase}”")


def part_note(part: str) -> str:
    return PARTS.get(part, "")
