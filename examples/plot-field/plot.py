"""Plots a field from the memory in which other processes have filled it, to a PNG file."""

import json
import sys

from matplotlib.figure import Figure

import ndshm

given = json.loads(sys.argv[1])

with ndshm.open(given["name"]) as field:
    height, width = field.shape
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="compressed")
    axes = figure.subplots()
    picture = axes.imshow(field, cmap="twilight_shifted", norm="log", origin="lower", extent=given["extent"])
    axes.set(title=given["title"], xlabel="real", ylabel="imaginary")
    figure.colorbar(picture, label="steps")
    figure.savefig(given["output"])
    print(json.dumps({"smallest": float(field.min()), "largest": float(field.max())}))
