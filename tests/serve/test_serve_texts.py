"""Texts over HTTP: what `maquette sample` writes, token by token, whoever else is writing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from served import Server

import maquette

PROMPTS = ("The cat", "A dog", "", "Our horse waits")


def asked(k: int) -> dict[str, Any]:
    return {"prompt": PROMPTS[k % 4], "max_tokens": 8 + 3 * (k % 6), "temperature": (1.0, 0.7, 0.0)[k % 3],
            "top_p": (1.0, 0.9)[k % 2], "seed": k % 5, "n": 1 + k % 2}  # fmt: skip


def streamed(server: Server, **how: Any) -> str:
    events = server.openai.completions.create(model="lm", stream=True, **how)
    return "".join(choice.text for event in events for choice in event.choices)


def test_the_texts_are_those_of_sample_whoever_writes_beside(server: Server) -> None:
    wanted = [asked(k) for k in range(32)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda how: server.openai.completions.create(model="lm", **how), wanted))
    run = maquette.load(server.runs / "lm")
    for how, answer in zip(wanted, answers, strict=True):
        own = {name: how[name] for name in ("prompt", "max_tokens", "temperature", "top_p")}
        texts = run.sample(how["n"], seed=how["seed"], quiet=True, **own).objects
        assert [how["prompt"] + choice.text for choice in answer.choices] == texts


def test_a_stream_is_the_same_text(server: Server) -> None:
    how = {"prompt": "The cat", "max_tokens": 30, "seed": 4}
    whole = server.openai.completions.create(model="lm", **how).choices[0]
    assert streamed(server, **how) == whole.text and whole.finish_reason == "length"
    assert streamed(server, **how, extra_body={"echo": True}) == "The cat" + whole.text


def test_a_text_ends_before_a_stop_word(server: Server) -> None:
    how = {"prompt": "The", "max_tokens": 40, "seed": 1, "temperature": 0.0}
    text = server.openai.completions.create(model="lm", **how).choices[0].text
    word = text[5:7]
    cut = server.openai.completions.create(model="lm", stop=word, **how).choices[0]
    assert cut.text == text[: text.index(word)] and cut.finish_reason == "stop"
    assert streamed(server, stop=[word], **how) == cut.text


def test_a_conversation_goes_on(server: Server) -> None:
    messages: Any = [{"role": "user", "content": "The cat"}]
    chat = server.openai.chat.completions.create(
        model="lm", messages=messages, max_completion_tokens=12, seed=3, logprobs=True, top_logprobs=2
    )
    text = server.openai.completions.create(model="lm", prompt="The cat", max_tokens=12, seed=3).choices[0].text
    assert chat.choices[0].message.content == text and chat.usage.completion_tokens == 12  # type: ignore[union-attr]
    tokens = chat.choices[0].logprobs.content  # type: ignore[union-attr]
    assert "".join(token.token for token in tokens) == text and all(token.logprob <= 0 for token in tokens)
    assert all(len(token.top_logprobs) == 2 for token in tokens)
    events = server.openai.chat.completions.create(
        model="lm", messages=messages, max_tokens=12, seed=3, stream=True, stream_options={"include_usage": True}
    )
    *parts, last = list(events)
    assert "".join(one.choices[0].delta.content or "" for one in parts) == text
    assert last.usage is not None and last.usage.total_tokens == 12 + len("The cat")


def test_chances_of_a_completion(server: Server) -> None:
    choice = server.openai.completions.create(model="lm", prompt="A", max_tokens=5, logprobs=3).choices[0]
    assert choice.logprobs is not None and "".join(choice.logprobs.tokens or ()) == choice.text
    assert all(len(top) == 3 for top in choice.logprobs.top_logprobs or ())
