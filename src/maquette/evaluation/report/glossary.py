"""What each number means, for somebody who has never trained a generative model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "floor", "unknown"]


@dataclass(frozen=True)
class Entry:
    """words: any of them inside a metric's name picks the entry. better: which way is good.

    "floor" means: as near as can be to what real pictures score against each other.
    """

    words: tuple[str, ...]
    title: str
    better: Better
    says: str


# The first entry that matches wins, so narrower ones come first.
METRICS: tuple[Entry, ...] = (
    Entry(
        ("frechet", "fréchet", "fid"),
        "Fréchet distance",
        "lower",
        "How far the crowd of generated pictures is from the crowd of real ones, compared as two clouds of "
        "features. 0 would be the same cloud. It only means something beside its floor and with the same "
        "feature network.",
    ),
    Entry(
        ("kernel", "kid", "mmd"),
        "Kernel distance",
        "lower",
        "The same question as the Fréchet distance, asked without assuming that the clouds are bell-shaped; "
        "it is steadier when there are few pictures. 0 means no difference was found.",
    ),
    Entry(
        ("precision",),
        "Precision",
        "higher",
        "Share of generated pictures that look like some real picture. Low: many samples are not believable.",
    ),
    Entry(
        ("two_sample", "two-sample", "c2st"),
        "Two-sample test",
        "floor",
        "A classifier is trained to tell real from generated pictures and tried on new ones. 50 % means it "
        "can only guess, which is the best a generator can do; 100 % means it always knows.",
    ),
    Entry(
        ("recall",),
        "Recall",
        "higher",
        "Share of real pictures that the generator could have made. Low: whole kinds of pictures are missing.",
    ),
    Entry(
        ("density",),
        "Density",
        "higher",
        "How deep inside the regions of real pictures the samples lie. Like precision, but less easily fooled "
        "by one odd real picture; values near its floor are as good as real.",
    ),
    Entry(
        ("class_share", "mode", "missing_class", "share_of", "class_cover"),
        "Classes made",
        "higher",
        "Whether every class appears among the samples as often as in the data. A generator that forgets a "
        "class has dropped a part of the world.",
    ),
    Entry(
        ("coverage",),
        "Coverage",
        "higher",
        "Share of real pictures that have a sample in their neighbourhood. Low: the generator repeats itself.",
    ),
    Entry(
        ("accuracy",),
        "Class accuracy",
        "higher",
        "Ask for a class, and let a classifier trained on real pictures say what came out: the share it agrees with.",
    ),
    Entry(
        ("copies", "copied", "memor", "nearest"),
        "Copies of training pictures",
        "floor",
        "Share of samples that lie closer to a training picture than new real pictures do. Well above the "
        "floor means that the model repeats what it was shown instead of making something new.",
    ),
    Entry(
        ("iwae", "log_likelihood", "loglik"),
        "Log-likelihood (importance-weighted bound)",
        "higher",
        "How probable the model finds pictures it has never seen, in nats per picture; higher is better. A "
        "lower bound that tightens with the number of importance samples.",
    ),
    Entry(
        ("bits",),
        "Bits per dimension",
        "lower",
        "How many bits each pixel would cost if the model were used to compress unseen pictures.",
    ),
    Entry(
        ("elbo",),
        "ELBO",
        "higher",
        "A lower bound on how probable the model finds unseen pictures, in nats: how well it rebuilds them, "
        "minus what the code costs.",
    ),
    Entry(
        ("active_units", "active units"),
        "Active units",
        "unknown",
        "How many numbers of the latent code the model really uses. Very few means that it ignores its code "
        "(posterior collapse).",
    ),
    Entry(
        ("reconstruction",),
        "Reconstruction error",
        "lower",
        "How far a picture is from itself after it was squeezed through the latent code.",
    ),
    Entry(
        ("diversity",),
        "Diversity",
        "floor",
        "How different samples are from one another, beside how different real pictures are. 1 is as varied "
        "as the data; near 0, every sample looks the same.",
    ),
    Entry(("kl",), "KL divergence", "unknown", "What the latent code costs, in nats per picture."),
)

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


def entry_for(name: str) -> Entry | None:
    """The entry of a metric, by its name."""
    text = name.lower()
    return next((entry for entry in METRICS if any(word in text for word in entry.words)), None)


def phase_title(phase: str) -> str:
    return PHASES.get(phase, f"Phase “{phase}”")


def part_note(part: str) -> str:
    return PARTS.get(part, "")
