"""What each number means, for somebody who has never trained a generative model."""

from __future__ import annotations

from collections.abc import Sequence

# What each metric of an evaluation asks, by its name.
METRICS: dict[str, str] = {
    "frechet": "How far the crowd of generated pictures is from the crowd of real ones, compared as two clouds of "
    "features. 0 would be the same cloud. It only means something beside its floor and with the same "
    "feature network.",
    "kernel": "The same question as the Fréchet distance, asked without assuming that the clouds are bell-shaped; "
    "it is steadier when there are few pictures. 0 means no difference was found.",
    "two_sample": "A classifier is trained to tell real from generated items and tried on new ones. 50 % means it "
    "can only guess, which is the best a generator can do; 100 % means it always knows. The floor tells real training "
    "from real held-out items: it is above 50 % where the two are about different things, as parts of a long text are.",
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
    "log_likelihood": "How probable the model finds pictures it has never seen, in nats per picture: the density of "
    "pictures whose 8-bit values were spread out over their steps. Higher is better.",
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
    "nats_per_token": "The average surprise of the model at each token of text it has never seen. Lower is better. It "
    "depends on what a token is, so it can only be compared between runs with the same tokenizer.",
    "perplexity": "The same surprise, as the number of equally likely tokens that would be as hard to guess.",
    **dict.fromkeys(
        ("bits_per_char", "nats_per_char", "bits_per_char_sliding", "nats_per_char_sliding"),
        "The surprise shared out over the characters that the tokens spell, so that models with different tokenizers "
        "can be compared. In bits, it is the size that the text could be compressed to with this model. With windows "
        "that do not overlap, the first tokens of each have little to go by; sliding windows always have some.",
    ),
    **dict.fromkeys(
        ("bleu", "bleu_lc"),
        "Share of words, pairs, threes and fours of the translations that are in the reference, with a penalty for "
        "translations that are too short. There are other good translations than the reference, so 100 is not to be "
        "had; compare only numbers with the same signature and the same test set.",
    ),
    "chrf": "Like BLEU, by runs of one to six characters instead of words, so that a word with another ending "
    "counts in part. It fits languages with many forms of a word, and those without spaces.",
    **dict.fromkeys(
        ("rouge_1", "rouge_2", "rouge_l"),
        "Words (1), pairs of words (2), and the longest run of words in the same order (L) that a text shares with the "
        "reference. It is the usual measure of summaries.",
    ),
    "exact": "Share of texts that are the reference, letter for letter.",
    "length": "Whether texts are as long as real ones.",
    **dict.fromkeys(
        ("distinct_1", "distinct_2", "distinct_3"),
        "How many of all the words (pairs, threes) of the samples are different ones, beside as much real text. Lower "
        "than real: the model says the same things over and over. Higher: it makes up words.",
    ),
    "self_bleu": "How much each sample is like the other samples, as BLEU sees it. Higher than real text: all samples "
    "are variations of one.",
    **dict.fromkeys(
        ("repetition", "repetition_8"),
        "How much of a text says again what that same text has said before. Models that loop are far above real text.",
    ),
    **dict.fromkeys(
        ("copied_5", "copied_10", "copied_20", "copied_30", "copied_50", "copied_words_4", "copied_words_8"),
        "Share of the runs of that length in the samples that stand in the training text, letter for letter. Real text "
        "that was never trained on has some too: names, proverbs, set phrases. Clearly more means reciting.",
    ),
    "longest_copied": "The longest stretch of any sample that stands in the training text, beside the longest stretch "
    "of held-out text that does.",
    "form": "In this data a class has a layout: so many lines of so many characters. The share of samples that keep "
    "the layout of the class they were asked for.",
    "reconstruction": "How far a picture is from itself after it was squeezed through the latent code.",
}

# What is logged while training. Keys are phases or parts of `phase/part`.
PHASES: dict[str, str] = {
    "d": "The discriminator (critic): learns to tell real pictures from made ones",
    "g": "The generator: learns to make pictures that the discriminator takes for real",
    "r1": "Regularisation of the discriminator, done now and then",
    "elbo": "Encoder and decoder, learning together to rebuild pictures through a small code",
    "vae": "Encoder and decoder, learning together to rebuild pictures through a small code",
    "nll": "The model, learning to predict each next token",
    "gate": "The gate: learns how much each member counts; the members stay as they are",
    "critic": "The critic: learns to tell real continuations of a text from the writer's",
    "preview": "Measured on the previews",
    "val": "Measured on held-out data",
    "run": "The run itself",
}

PARTS: dict[str, str] = {
    "critic/accuracy": "share of continuations, real and written, that it tells right; 0.5 is guessing",
    "critic/nats": "its surprise at which are real, in nats a judgement; 0.69 is guessing",
    "gate/nats_per_token": "surprise of all members together at each token of the training text",
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
    "nats_per_token": "surprise at each token of the training text",
    "held_out_nats": "surprise at each token of a fixed piece of held-out text; rising means over-fitting",
    "repetition": "share of a sample that repeats itself, less that of real text; near 0 is as real",
    "copied": "share of a sample that stands in the training text, less that of held-out text; near 0 is as real",
    "items_per_second": "speed",
    "items_per_s": "speed",
    "waited_seconds": "time spent waiting for data",
    "elbo_nats": "lower bound on the log-likelihood, nats per picture",
    "reconstruction_nats": "how well pictures are rebuilt, nats per picture",
}


def phase_title(phase: str) -> str:
    return PHASES.get(phase, f"Phase “{phase}”")


def part_note(phase: str, part: str, members: Sequence[str] = ()) -> str:
    """What a logged value is. members: names of the runs that `member_0`, `member_1`, ... stand for."""
    number = part.removeprefix("member_")
    if number != part and number.isdecimal() and int(number) < len(members):
        return f"surprise of {members[int(number)]} alone at each token of the training text"
    return PARTS.get(f"{phase}/{part}", PARTS.get(part, ""))
