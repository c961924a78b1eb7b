"""What each number says, in one or two plain sentences."""

from __future__ import annotations

from maquette.evaluation.results import Metric


def reading(m: Metric) -> str:
    """Plain words for a metric: what it counted, and how it stands to its floor."""
    v, f = m.show(m.value), m.show(m.floor)
    match m.name:
        case "frechet":
            return (
                "How far generated and held-out pictures lie apart, in what is typical and in how they vary. "
                + _against_floor(m)
            )
        case "kernel":
            return (
                "The same question asked of the whole shape of the two sets; 0 means equal, and chance can take "
                "it just below. " + _against_floor(m)
            )
        case "precision":
            return f"{v} of generated pictures lie among real ones; of real pictures, {f} do. " + _verdict(m)
        case "recall":
            return f"{v} of held-out pictures lie within what is generated; for real pictures, {f}. " + _verdict(m)
        case "density":
            return (
                f"Generated pictures have {v} times the real company they would be due; real ones have {f}. "
                "High density with low coverage means safe, repetitive pictures."
            )
        case "coverage":
            return f"{v} of held-out pictures have a generated one nearby; with real ones instead, {f}. " + _verdict(m)
        case "two_sample":
            p = "p < 0.001" if (m.p_value or 0) < 0.001 else f"p = {m.p_value:.3f}"
            told = (m.p_value if m.p_value is not None else 1.0) < 0.05
            end = "there are differences that it can see" if told else "it cannot tell them apart"
            return f"A small classifier tells generated from real in {v} of cases ({p}); guessing gives 50%: {end}."
        case "class_accuracy":
            return (
                f"{v} of generated pictures show the class that was asked for, says a classifier that is right "
                f"about {f} of held-out real ones."
            )
        case "class_shares":
            return f"{v} of generated pictures would have to change class to match the data; among real ones, {f}."
        case "missing_classes":
            if m.value == 0:
                return "Every class that is common enough to judge is generated."
            return f"{v} of the classes are hardly generated: under a tenth of their share."
        case "copies":
            high = m.low is not None and m.floor_high is not None and m.low > m.floor_high
            end = (
                "More than chance: look at the nearest pairs; very plain pictures come near without being copied."
                if high
                else "No more than chance."
            )
            return f"{v} of generated pictures are nearer to a training picture than 99% of new real ones are. {end}"
        case "log_likelihood":
            return f"The log-probability density of a held-out picture, dequantised, is {v} nats on average."
        case "elbo":
            return f"The model's lower bound on the log-probability of a held-out picture is {v} nats on average."
        case "iwae":
            return f"A tighter lower bound on the same log-probability: {v} nats."
        case "iwae_large":
            return (
                f"Nearly the log-probability itself: {v} nats, with the last step estimated on a part of the pictures."
            )
        case "bits_per_dim":
            return f"At that probability, a held-out picture costs {v} bits per number."
        case "active_units":
            return f"{v} of the latent numbers carry information about the picture; the rest are noise."
        case "reconstruction":
            return f"Coded and decoded, a held-out pixel is off by {v} (squared, on a scale from -1 to 1)."
        case "psnr":
            return f"The same error as a signal-to-noise ratio: {v} dB."
    return ""


def _against_floor(m: Metric) -> str:
    v, f = m.show(m.value), m.show(m.floor)
    if m.floor is None:
        return f"It is {v}; no floor could be measured."
    text = f"It is {v}, where real training pictures score {f}"
    if _reached(m):
        return text + ": this number cannot tell generated from real."
    if m.floor > 0 and m.value > 1.2 * m.floor:
        return text + f": {m.value / m.floor:.3g} times as far."
    return text + "."


def _reached(m: Metric) -> bool:
    """Whether the value's interval meets the floor's, or lies on the better side of it."""
    if m.floor is None:
        return False
    low, high = (m.value if m.low is None else m.low), (m.value if m.high is None else m.high)
    floor_low = m.floor if m.floor_low is None else m.floor_low
    floor_high = m.floor if m.floor_high is None else m.floor_high
    return high >= floor_low if m.better == "higher" else low <= floor_high


def _verdict(m: Metric) -> str:
    return "As good as real, as far as this can tell." if _reached(m) else "Below real pictures."
