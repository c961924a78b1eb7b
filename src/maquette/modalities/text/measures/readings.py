"""What each number about text says, in one or two plain sentences."""

from __future__ import annotations

from maquette.evaluation.results import Metric

_MORE_THAN_REAL = "More than real text: look at the samples."


def reading(m: Metric) -> str:
    """Plain words for a measure of text: what it counted, and how it stands to real text."""
    v, f = m.show(m.value), m.show(m.floor)
    match m.name.removesuffix("_sliding"):
        case "nats_per_token":
            return f"On average the next token of held-out text surprises the model by {v} nats."
        case "perplexity":
            return f"It is as unsure of the next token as if it chose among {v} equally likely ones."
        case "bits_per_char":
            return f"To write held-out text down with this model would take {v} bits a character."
        case "nats_per_char":
            return f"The same in nats: {v} a character. It can be compared between tokenizers."
        case "bleu":
            return f"{v} of 100: how far the words and phrases are those of the reference, as sacreBLEU counts."
        case "bleu_lc":
            return f"The same when capitals do not count: {v} of 100."
        case "chrf":
            return f"{v} of 100: how far the runs of letters are those of the reference; kinder to endings than BLEU."
        case "rouge_1" | "rouge_2":
            what = "words" if m.name == "rouge_1" else "pairs of words"
            return f"{what.capitalize()} shared with the reference: {v} of 100 (F-score)."
        case "rouge_l":
            return f"The longest run of words in common and in order, gaps allowed: {v} of 100 (F-score)."
        case "exact":
            return f"{v} of them are the reference, letter for letter."
        case "length":
            return f"A sample has {v} characters on average; a real text has {f}."
        case "distinct_1" | "distinct_2" | "distinct_3":
            return f"{v} of them are different; in as much real text, {f}. Much lower means always the same phrases."
        case "self_bleu":
            return f"Samples are as like one another as {v} of 100; real texts, {f}. Higher means less variety."
        case "repetition" | "repetition_8":
            end = " " + _MORE_THAN_REAL if _above(m) else ""
            return f"{v} of a sample repeats what it said before; of real text, {f}.{end}"
        case "two_sample":
            p = "p < 0.001" if (m.p_value or 0) < 0.001 else f"p = {m.p_value:.3f}"
            told = (m.p_value if m.p_value is not None else 1.0) < 0.05
            end = "there are differences that it can see" if told else "it cannot tell them apart"
            real = f" Real training text is told from held-out text in {f}." if m.floor is not None else ""
            return f"A classifier by letters tells samples from real text in {v} of cases ({p}): {end}.{real}"
        case "form":
            return f"{v} of the samples keep the lines and lengths of the form asked for; of real texts, {f}."
        case "longest_copied":
            return (
                f"The longest passage of a sample that stands in the training text: {v} characters; of real text, {f}."
            )
        case name if name.startswith("copied_"):
            end = "More than chance and set phrases: look at the passages." if _above(m) else "No more than real text."
            return (
                f"{v} of such passages in the samples stand in the training text, and {f} of those in real text. {end}"
            )
    return ""


def _above(m: Metric) -> bool:
    """Whether the value's interval lies above the floor's."""
    return m.low is not None and m.floor_high is not None and m.low > m.floor_high
