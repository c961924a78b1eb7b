"""The short-time Fourier transform: against its definition, and there and back."""

from __future__ import annotations

import pytest
import torch

from maquette.nets.spectrogram import inverse, transform


@pytest.mark.parametrize(("length", "size", "hop"), [(8000, 256, 64), (8013, 256, 128), (500, 64, 16), (90, 128, 32)])
def test_there_and_back_is_the_same_sound(length: int, size: int, hop: int) -> None:
    x = torch.randn(2, 1, length, generator=torch.Generator().manual_seed(0))
    frames = transform(x, size, hop)
    assert frames.shape == (2, 1, size // 2 + 1, length // hop + 1)
    back = inverse(frames, size, hop, length)
    assert back.shape == x.shape
    whole = length // hop * hop  # behind the centre of the last frame little of a window reaches
    torch.testing.assert_close(back[..., :whole], x[..., :whole], atol=1e-5, rtol=0)


def test_a_frame_is_centred_at_its_sample() -> None:
    x = torch.randn(400, generator=torch.Generator().manual_seed(1))
    window = torch.hann_window(64)
    by_hand = torch.fft.rfft(x[160 - 32 : 160 + 32] * window)
    torch.testing.assert_close(transform(x, 64, 16)[:, 10], by_hand, atol=1e-5, rtol=0)
