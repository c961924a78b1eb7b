"""What a model that claims an ability (core/model.py) has to be able to do. Each is skipped where it is not claimed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from maquette.core.errors import UserError
from maquette.core.model import (
    Aligns,
    Continues,
    Cooperates,
    Decodes,
    Encodes,
    Fills,
    FlowMap,
    GridCode,
    Moves,
    Restores,
    Scores,
    Streams,
    Tweens,
    Unfolds,
    UsesCodec,
)
from maquette.core.rng import ItemRng
from maquette.core.spec import PAD, GridSpec, TokenSpec
from maquette.testing.bench import ITEMS, Bench, comparable
from maquette.testing.checks import Skipped, require

_SAMPLES = 8  # by which a lower bound must not be lower than by one


def ability(protocol: type) -> Callable[[Callable[[Bench], Skipped | None]], Callable[[Bench], Skipped | None]]:
    """Skips a check of models that do not claim the ability; what it does is done without gradients."""

    def wrap(check: Callable[[Bench], Skipped | None]) -> Callable[[Bench], Skipped | None]:
        def checked(b: Bench) -> Skipped | None:
            if not isinstance(b.fresh, protocol):
                return Skipped(f"it does not claim {protocol.__name__}")
            with torch.no_grad():
                return check(b)

        checked.__name__, checked.__doc__ = check.__name__, check.__doc__
        return checked

    return wrap


@ability(Decodes)
def decodes(b: Bench) -> Skipped | None:
    """A code gives the same item each time, of the spec's shape, that differs from another code's and follows what is
    given."""
    model: Any = b.learned
    z = b.rng().normal(ITEMS, model.latent_dim)
    made, again, turned = (model.decode(code, b.batch.given) for code in (z, z, z.roll(1, 0)))
    require(set(made) == set(b.spec.target), f"decode() made {set(made)}, not {set(b.spec.target)}")
    for name in b.spec.target:
        expected = (ITEMS, *b.spec.columns[name].shape)
        require(made[name].shape == expected, f"decode() gives '{name}' of shape {tuple(made[name].shape)}")
        require(torch.equal(made[name], again[name]), f"decode() gives another '{name}' the second time")
        require(not torch.equal(made[name], turned[name]), f"every code gives the same '{name}'")
    for column, value in b.batch.given.items():
        other = model.decode(z, {**b.batch.given, column: value.roll(1, 0)})
        differs = any(not torch.equal(made[name], other[name]) for name in b.spec.target)
        require(differs, f"decode() takes no notice of '{column}'")
    return None


@ability(Encodes)
def encodes(b: Bench) -> Skipped | None:
    """The code of an item is the same each time and, decoded, nearer to that item than to the next one."""
    model: Any = b.learned
    code = model.encode(b.batch)
    require(code.shape == (ITEMS, model.latent_dim), f"encode() gives {tuple(code.shape)}")
    require(torch.equal(code, model.encode(b.batch)), "encode() gives another code the second time")
    made = model.decode(code, b.batch.given)
    for name in b.spec.target:
        again, real = (comparable(b.spec.columns[name], x[name]) for x in (made, b.batch.target))
        ours, others = ((again - x).square().mean() for x in (real, real.roll(1, 0)))
        require(bool(ours < others), f"decode(encode(x)) is no nearer to its '{name}' than to that of the next item")
    return None


@ability(GridCode)
def code_lies_on_its_grid(b: Bench) -> Skipped | None:
    """`code_grid` has as many numbers as a code."""
    model: Any = b.fresh
    if model.code_grid is None:
        return Skipped("its code is on no grid")
    numbers = int(torch.tensor(model.code_grid).prod())
    require(numbers == model.latent_dim, f"code_grid {model.code_grid} has {numbers} numbers, not {model.latent_dim}")
    return None


@ability(UsesCodec)
def codec_stays_as_it_is(b: Bench) -> Skipped | None:
    """The codec encodes and decodes, and training leaves it alone."""
    models: Any = b.fresh, b.learned
    before, after = (model.codec for model in models)
    require(isinstance(after, Encodes), "`codec` does not encode")
    if isinstance(before, torch.nn.Module) and isinstance(after, torch.nn.Module):
        now = after.state_dict()
        changed = [name for name, value in before.state_dict().items() if not torch.equal(value, now[name])]
        require(not changed, f"training changed the codec: {changed[:3]}")
    return None


@ability(Scores)
def scores(b: Bench) -> Skipped | None:
    """log_prob is finite, of each item by itself, and rises as one batch is learned."""
    model: Any = b.learned
    require(model.density in ("discrete", "continuous", "none"), f"density is '{model.density}'")
    require(isinstance(model.exact, bool), "exact is neither True nor False")
    seen = model.score_target(b.batch, b.rng(seed=2))
    twice = model.score_target(seen, b.rng(seed=3))
    for name in b.spec.target:
        for made in (seen, twice):
            same = made.target[name].shape == b.batch.target[name].shape
            require(same, f"score_target() gives '{name}' of shape {tuple(made.target[name].shape)}")
    require(seen.given.keys() == b.batch.given.keys(), "score_target() loses what is given")
    log_p = model.log_prob(seen, b.rng())
    require(log_p.shape == (ITEMS,), f"log_prob() gives {tuple(log_p.shape)}, not one number an item")
    require(bool(torch.isfinite(log_p).all()), "log_prob() is not finite")
    few = model.log_prob(seen.rows(0, 3), b.rng(3))
    require(torch.allclose(log_p[:3], few, rtol=1e-3, atol=0.1), "log_prob() of an item depends on those beside it")
    fresh: Any = b.fresh
    require(bool(log_p.sum() > fresh.log_prob(seen, b.rng()).sum()), "learning a batch does not raise its log_prob()")
    return None


@ability(Scores)
def bound_does_not_fall(b: Bench) -> Skipped | None:
    """A lower bound by several samples is no lower than by one, on average."""
    model: Any = b.begun
    if model.exact:
        return Skipped("log_prob is no bound")
    seen = model.score_target(b.batch, b.rng(seed=2))
    one, several = (
        torch.stack([model.log_prob(seen, b.rng(seed=seed), samples=samples) for seed in range(8)])
        for samples in (1, _SAMPLES)
    )
    gain = several.mean(0) - one.mean(0)
    error = ((one.var(0) + several.var(0)) / len(one)).sqrt()
    require(bool(gain.mean() + 3 * error.mean() >= 0), f"the bound by {_SAMPLES} samples is lower than by one")
    return None


@ability(FlowMap)
def flow_map_is_the_velocity(b: Bench) -> Skipped | None:
    """At h = 0 the flow map comes to be E[x - e | x_t]: of the batch, learning brings it nearer to x - e."""
    (name,) = b.spec.target
    x, given = b.batch.target[name], b.batch.given
    e, t = b.rng().normal(*x.shape), torch.linspace(0.2, 0.9, ITEMS)
    at = torch.lerp(e, x, t.view(-1, *[1] * (x.ndim - 1)))
    errors, models = [], dict[str, Any](fresh=b.fresh, learned=b.learned)
    for model in models.values():
        try:
            u = model.flow_map(given, ITEMS)
        except UserError as error:
            return Skipped(f"it refuses: {error}")
        velocity = u(at, t, torch.zeros_like(t))
        require(velocity.shape == x.shape, f"flow_map gives {tuple(velocity.shape)}, not {tuple(x.shape)}")
        errors.append(float((velocity - (x - e)).square().mean()))
    require(errors[1] < errors[0], "learning a batch does not bring the flow map nearer to its velocity")
    return None


@ability(FlowMap)
def integrating_is_sampling(b: Bench) -> Skipped | None:
    """From the noise that a sample begins with, `integrate` comes to that sample."""
    model: Any = b.begun
    try:
        model.flow_map(b.batch.given, ITEMS)
    except UserError as error:
        return Skipped(f"it refuses: {error}")
    name, rng = b.spec.only_name, b.rng()
    shape = b.spec.only(GridSpec).shape
    noise = rng.normal(ITEMS, *shape)
    made = model.integrate(noise, b.batch.given, noise=lambda: rng.normal(ITEMS, *shape))
    require(made.shape == noise.shape, f"integrate() gives {tuple(made.shape)}")
    sampled = b.sample(model)[name]
    require(torch.allclose(made.clamp(-1, 1), sampled, atol=1e-4), "integrate() does not come to the sample")
    return None


@ability(FlowMap)
def corrects_what_it_names(b: Bench) -> Skipped | None:
    """What is seen of an item makes a difference to a model that was trained to correct something."""
    model: Any = b.learned
    corrects = model.corrects
    named = isinstance(corrects, tuple) and all(isinstance(name, str) and name for name in corrects)
    require(named, f"`corrects` is {corrects!r}, not names")
    if not corrects:
        return Skipped("it was trained to correct nothing")
    x = b.batch.target[b.spec.only_name]
    seen = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    maps = [model.flow_map(b.batch.given, ITEMS, seen=what) for what in (seen, None)]
    t = torch.full((ITEMS,), 0.5)
    differ = not torch.equal(*(u(torch.zeros_like(x), t, torch.zeros_like(t)) for u in maps))
    require(differ, "what is seen makes no difference")
    return None


@ability(Restores)
def restores_any_length(b: Bench) -> Skipped | None:
    """What is restored is as long as what was degraded, and learning a batch brings it nearer to that."""
    (name,) = b.spec.target
    x = b.batch.target[name]
    heard = (x + x.std() * b.rng().normal(*x.shape)).clamp(-1, 1)
    fresh: Any = b.fresh
    learned: Any = b.learned
    require(bool(fresh.corrects), "`corrects` names nothing")
    errors = [(model.restore(heard, b.rng(), steps=1) - x).square().mean() for model in (fresh, learned)]
    require(bool(errors[1] < errors[0]), "learning a batch does not bring what is restored nearer to it")
    for length in (1, 3 * x.shape[-1] + 1):
        heard = torch.zeros(*x.shape[:-1], length)
        made = learned.restore(heard, b.rng())
        require(made.shape == heard.shape, f"of {tuple(heard.shape)} restore() makes {tuple(made.shape)}")
        require(bool(made.abs().max() <= 1), "restore() leaves [-1, 1]")
    return None


@ability(Fills)
def fills_what_is_missing(b: Bench) -> Skipped | None:
    """What is not seen is filled, in an item of any length, and all that is seen stays as it is."""
    (name,) = b.spec.target
    x, model = b.batch.target[name], b.learned
    for length in (x.shape[-1], 2 * x.shape[-1] + 1):
        whole = b.rng().uniform(*x.shape[:-1], length) - 0.5  # in which no frequency is missing
        seen = torch.ones_like(whole[:, :1])
        same = model.filled(whole, b.rng(), seen)  # type: ignore[operator]
        require(torch.equal(same, whole), "filled() changes what lacks nothing")
        seen[..., length // 3 : length // 2] = 0
        made = model.filled(whole * seen, b.rng(), seen)  # type: ignore[operator]
        require(made.shape == whole.shape, f"of {tuple(whole.shape)} filled() makes {tuple(made.shape)}")
        require(bool(made.abs().max() <= 1), "filled() leaves [-1, 1]")
        require(torch.equal(made * seen, whole * seen), "filled() changes what is seen")
        require(not torch.equal(made, whole * seen), "filled() leaves what is missing as it was")
    return None


@ability(Streams)
def streaming_equals_reading(b: Bench) -> Skipped | None:
    """However a sequence is cut into calls, the logits are the same, and they are those that the score rests on."""
    model: Any = b.begun
    whole_x, given = b.batch.only(), b.batch.given
    x, vocab = whole_x[:, :-1], b.spec.only(TokenSpec).vocab
    require(isinstance(model.context, int) and model.context > 0, f"context is {model.context!r}")
    whole = model.advance(model.begin(ITEMS, given), x)
    memory = model.begin(ITEMS, given)
    parts = torch.cat([model.advance(memory, part) for part in x.split([1, 3, x.shape[1] - 4], 1)], 1)
    order = torch.arange(ITEMS).flip(0)
    memory = model.begin(ITEMS, given)
    model.advance(memory, x[:, :2])
    turned = model.advance(memory.rows(order), x[order, 2:4])
    score = model.token_log_prob(b.batch)
    require(whole.shape == (*x.shape, vocab), f"advance() gives {tuple(whole.shape)}")
    require(torch.allclose(whole, parts, atol=1e-4), "reading a sequence in parts gives other logits")
    require(torch.allclose(whole[order, 2:4], turned, atol=1e-4), "Memory.rows mixes up the sequences")
    after = whole_x[:, 1:]
    log_p = whole.log_softmax(-1).gather(-1, after[..., None])[..., 0].masked_fill(after == PAD, 0)
    require(torch.allclose(log_p, score, atol=1e-3), "token_log_prob is not that of the logits")
    return None


@ability(Aligns)
def alignment_is_a_distribution(b: Bench) -> Skipped | None:
    """Attention over the source sums to 1, and leaves padding out."""
    model: Any = b.begun
    if not (sources := b.spec.givens(TokenSpec)):
        return Skipped("there is no source")
    source = b.batch.given[next(iter(sources))].clone()
    source[0, -1] = PAD  # of one item at least there is padding
    given = {**b.batch.given, next(iter(sources)): source}
    weights = model.alignment(type(b.batch)(b.batch.target, given, ITEMS))
    steps = b.batch.only().shape[1] - 1 if isinstance(b.spec.only(), TokenSpec) else weights.shape[1]
    expected = (ITEMS, steps, source.shape[1])
    require(weights.shape == expected, f"alignment() gives {tuple(weights.shape)}, not {expected}")
    require(torch.allclose(weights.sum(-1), torch.ones(weights.shape[:2]), atol=1e-3), "alignment does not sum to 1")
    require(bool((weights.masked_select((source == PAD)[:, None]) < 1e-6).all()), "padding is attended to")
    return None


@ability(Unfolds)
def unfolding_is_sampling(b: Bench) -> Skipped | None:
    """The pieces of each item are, put together, that item of a sample; behind them all is 0."""
    model: Any = b.begun
    whole = b.sample(model)[b.spec.only_name]
    for i in range(2):
        given = {name: value[i : i + 1] for name, value in b.batch.given.items()}
        made = torch.cat(list(model.unfold(given, ItemRng(1, [i]))), -1)
        require(torch.equal(made, whole[i, ..., : made.shape[-1]]), f"the pieces of item {i} are not that of sample()")
        require(not bool(whole[i, ..., made.shape[-1] :].any()), f"item {i} goes on behind its last piece")
    return None


@ability(Cooperates)
def deciders_are_agents(b: Bench) -> Skipped | None:
    """With who decided each token come the same tokens as without, and each was decided by an agent or by none."""
    model: Any = b.begun
    agents = model.agents
    require(len(agents) > 0 and len(set(agents)) == len(agents), f"agents {agents} have no names of their own")
    tokens, decider = model.sample_with_deciders(ITEMS, b.batch.given, b.rng())
    require(tokens.shape == decider.shape, f"{tuple(tokens.shape)} tokens have {tuple(decider.shape)} deciders")
    in_range = bool((decider >= -1).all() and (decider < len(agents)).all())
    require(in_range, f"deciders are not -1 to {len(agents) - 1}")
    require(bool((decider[tokens == PAD] == -1).all()), "padding was decided by somebody")
    require(bool((decider >= 0).any()), "nobody decided anything")
    require(torch.equal(tokens, b.sample(model)[b.spec.only_name]), "the tokens are not those of sample()")
    return None


@ability(Continues)
def continues(b: Bench) -> Skipped | None:
    """What comes next is of the spec's shape and range, the same for the same noise, whatever is asked for beside it,
    and follows from the first moments."""
    model: Any = b.learned
    name, x = b.spec.only_name, b.batch.only()
    end = b.spec.only().shape[1] + 1  # beyond an item, too
    for seen in {model.seen, x.shape[2]}:
        first = x[:, :, :seen]
        made, again = (model.extend(first, count, b.batch.given, b.rng()) for count in (end, 1))
        expected = (ITEMS, x.shape[1], end, *x.shape[3:])
        require(made.shape == expected, f"extend() of {seen} moments gives '{name}' of shape {tuple(made.shape)}")
        require(bool(made.abs().max() <= 1 + 1e-4), f"extend() leaves [-1, 1] in '{name}'")
        require(torch.equal(made[:, :, :1], again), "extend() gives another next moment where fewer are asked for")
        one = model.extend(first[:3], end, {n: v[:3] for n, v in b.batch.given.items()}, b.rng(3))
        require(torch.allclose(one, made[:3], atol=1e-5), "what comes next depends on the other items")
    turned = model.extend(first.roll(1, 0), end, b.batch.given, b.rng())
    require(not torch.equal(turned, made), "extend() takes no notice of the first moments")
    return None


@ability(Tweens)
def tweens(b: Bench) -> Skipped | None:
    """What lies between two moments is of their shape and range, and alike where they are exchanged."""
    model: Any = b.learned
    first, last = b.batch.only()[:, :, 0], b.batch.only()[:, :, 1]
    made, back = model.between(first, last, 3), model.between(last, first, 3)
    require(made.shape == (*first.shape[:2], 3, *first.shape[2:]), f"between() gives {tuple(made.shape)}")
    require(bool(made.abs().max() <= 1 + 1e-4), "between() leaves [-1, 1]")
    require(torch.allclose(made, back.flip(2), atol=1e-4), "between() gives others where time is turned round")
    return None


@ability(Moves)
def moves(b: Bench) -> Skipped | None:
    """Each moment has a motion of each layer, and what is seen of them sums to 1."""
    x = b.batch.only()
    found = b.learned.motion(x, x.shape[2] + 1)  # type: ignore[operator]
    layers = found.flow.shape[2]
    shapes = (found.flow.shape, found.masks.shape)
    expected = ((ITEMS, x.shape[2] + 1, layers, 2, *x.shape[3:]), (ITEMS, x.shape[2] + 1, layers + 1, *x.shape[3:]))
    require(shapes == expected, f"motion() gives {shapes}, not {expected}")
    require(bool(torch.isfinite(found.flow).all()), "motion() is not finite")
    require(bool((found.masks >= -1e-4).all()), "motion() gives negative masks")
    require(bool(((found.masks.sum(2) - 1).abs() < 1e-3).all()), "masks of motion() do not sum to 1")
    return None


CHECKS = (
    decodes, encodes, code_lies_on_its_grid, codec_stays_as_it_is, scores, bound_does_not_fall,
    flow_map_is_the_velocity, integrating_is_sampling, corrects_what_it_names, restores_any_length,
    fills_what_is_missing, streaming_equals_reading, unfolding_is_sampling, alignment_is_a_distribution,
    deciders_are_agents, continues, tweens, moves,
)  # fmt: skip
