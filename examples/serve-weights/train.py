"""Trains a softmax regression on handwritten digits, in the shared array from which servers answer meanwhile.

It begins with a model that sees an image as one grey spot, and goes on to larger ones, which see more parts of it. A
model is trained where it is served: each step changes the weights in place, under the array's lock. A larger model is
another array, of another shape, which replaces the one before it under its name.
"""

import contextlib
import json
import sys
import time

import numpy as np

import ndshm

given = json.loads(sys.argv[1])
side = 28
batch = 100
rate = 0.05
pause_every = 25
patience = 30.0  # seconds, for what is to be expected of the servers


def main():
    images = ndshm.open(given["images"])[: given["training"]]
    labels = ndshm.open(given["labels"])[: given["training"]]
    board = ndshm.open(given["board"])
    step = 0
    model = None
    weights = np.zeros((2, 10), np.float32)
    for parts in given["models"]:
        replaced, model = model, publish(enlarge(weights, parts), step)
        print("published", flush=True)
        if replaced is not None:
            replaced.close()
        wait_until_served(board, model)
        if step == 0:
            wait_until(board, lambda: board[:, 0].sum() >= given["untrainedAnswers"], patience)

        weights = model[1:-1]
        inputs = inputs_of(images, parts)
        for _ in range(given["steps"]):
            rows = np.arange(step * batch, (step + 1) * batch) % len(labels)
            step += 1
            update(model, rate * gradient(weights, inputs[rows], labels[rows]), step, board)


def publish(weights, step):
    """A new array in place of the one that has the name: whoever opens it gets the old one or the new one, whole."""
    rows = np.empty((len(weights) + 2, 10), np.float32)
    rows[0] = rows[-1] = step
    rows[1:-1] = weights
    return ndshm.from_array(given["model"], rows, if_exists="replace", ephemeral=True)


def update(model, change, step, board):
    """Takes a step in place. The first and the last row tell which: while they differ, the model is half-written."""
    weights = model[1:-1]
    half = len(weights) // 2
    with model.write() if given["locked"] else contextlib.nullcontext():
        model[0] = step
        weights[:half] -= change[:half]
        if step % pause_every == 0:
            pause(board)
        weights[half:] -= change[half:]
        model[-1] = step


def pause(board):
    """Half-way through a step, until a server has read the model: at once without the lock, and never with it."""
    under_way = len(board)  # answers, for which the model was read before
    enough = board[:, 0].sum() + under_way + 1
    with contextlib.suppress(ndshm.Timeout):
        wait_until(board, lambda: board[:, 0].sum() >= enough, 0.005 if given["locked"] else patience)


def wait_until_served(board, model):
    """Until all servers have it, so that each of them meets each replacement, however short the training is."""
    wait_until(board, lambda: all(board[:, 1] == len(model)), patience)


def wait_until(board, condition, seconds):
    """Looks whenever a server has written to the board. Raises ndshm.Timeout."""
    end = time.monotonic() + seconds
    seen = board.version
    while not condition():
        seen = board.changed(since=seen, timeout=max(0.0, end - time.monotonic()))


def inputs_of(images, parts):
    """The sums of `parts` x `parts` parts of each image, scaled so that one rate fits all models; and a one."""
    length = side // parts
    sums = images.reshape(-1, parts, length, parts, length).sum(axis=(2, 4)).reshape(len(images), -1) / length
    return np.hstack([sums, np.ones((len(images), 1), np.float32)])


def gradient(weights, inputs, labels):
    """The gradient of the cross-entropy."""
    scores = inputs @ weights
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    probabilities[np.arange(len(labels)), labels] -= 1
    return inputs.T @ probabilities / len(labels)


def enlarge(weights, parts):
    """What a smaller model has learnt for each pixel, as the weights of `parts` x `parts` parts of the image."""
    before = round((len(weights) - 1) ** 0.5)
    length = side // parts
    square = weights[:-1].reshape(before, before, 10)
    pixels = square.repeat(side // before, axis=0).repeat(side // before, axis=1)
    means = pixels.reshape(parts, length, parts, length, 10).mean(axis=(1, 3)).reshape(-1, 10)
    return np.vstack([means * (before / parts), weights[-1:]])


main()
