"""The textbook GAN as commonly written in Keras (predict + train_on_batch); prints steps per second.

Run by textbook_gan.py in an interpreter that has Keras; imports nothing of ours.
"""

import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from keras import layers

LATENT, PIXELS, BATCH = 100, 784, 64


def main(steps: int) -> None:
    generator = keras.Sequential(
        [layers.Input((LATENT,)), layers.Dense(128, "relu"), layers.Dense(128, "relu"), layers.Dense(PIXELS, "tanh")]
    )
    critic = keras.Sequential([layers.Input((PIXELS,)), layers.Dense(128, "relu"), layers.Dense(1, "sigmoid")])
    critic.compile("adam", "binary_crossentropy")
    critic.trainable = False
    both = keras.Sequential([generator, critic])
    both.compile("adam", "binary_crossentropy")
    rng = np.random.default_rng(0)
    real = rng.uniform(-1, 1, (BATCH, PIXELS)).astype("float32")
    ones, zeros = np.ones((BATCH, 1)), np.zeros((BATCH, 1))
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        fake = generator.predict(rng.normal(size=(BATCH, LATENT)), verbose=0)
        critic.train_on_batch(real, ones)
        critic.train_on_batch(fake, zeros)
        both.train_on_batch(rng.normal(size=(BATCH, LATENT)), ones)
        times.append(time.perf_counter() - began)
    print(1 / statistics.median(times[steps // 4 :]))


main(int(sys.argv[1]))
