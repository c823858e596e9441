"""Reads the demo's arrays by numpy alone, and writes the mean image of each digit into one of them."""

import json
import sys

import numpy as np

names = json.loads(sys.argv[1])


def load(key, mode):
    return np.load(f"/dev/shm/{names[key]}", mmap_mode=mode)


digits, labels, predictions = (load(key, "r") for key in ("digits", "labels", "predictions"))
means = load("means", "r+")
for label in range(10):
    means[label] = digits[labels == label].mean(axis=0)

correct = int((predictions == labels[-len(predictions) :]).sum())
print(json.dumps({"numpy": np.__version__, "digits": str(digits.shape), "correct": correct}))
