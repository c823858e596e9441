"""PyTorch over segments: no copy, both ways."""

from __future__ import annotations

from typing import Callable

import numpy as np
import torch

import ndshm
from one_shot import run_node


def test_a_tensor_over_a_segment_is_the_segment(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    with ndshm.create(name, (3, 4), "float32") as weights:
        tensor = torch.from_numpy(np.asarray(weights))
        assert tensor.data_ptr() == weights.__array_interface__["data"][0]
        assert tensor.shape == (3, 4)
        assert tensor.dtype == torch.float32
        tensor[1, 2] = 7.0
        assert weights[1, 2] == 7.0
        with ndshm.open(name) as seen:
            assert seen[1, 2] == 7.0
        with weights.write():
            weights[0, 0] = 5.0
        assert tensor[0, 0].item() == 5.0
    ndshm.unlink(name)


def test_a_step_of_an_optimizer_is_seen_by_node_at_once(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    with ndshm.create(name, 3, "float32") as weights:
        parameter = torch.nn.Parameter(torch.from_numpy(np.asarray(weights)))
        optimizer = torch.optim.SGD([parameter], lr=0.5)
        (parameter * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
        with weights.write():
            optimizer.step()
        assert parameter.data_ptr() == weights.__array_interface__["data"][0]
        script = "const a = ndshm.open(given); console.log(JSON.stringify(a.readSync((view) => view.toNested())));"
        assert run_node(script, name) == [-0.5, -1.0, -1.5]
    ndshm.unlink(name)


def test_every_dtype_that_torch_has_is_shared_without_a_copy(fresh_name: Callable[..., str]) -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64", "complex64"):
        name = fresh_name(dtype)
        with ndshm.create(name, (2, 2), dtype, order="F") as array:
            tensor = torch.from_numpy(np.asarray(array))
            assert tensor.data_ptr() == array.__array_interface__["data"][0]
            tensor[1, 0] = 1
            assert array[1, 0] == 1
        ndshm.unlink(name)


def test_tensors_of_a_safetensors_file_are_shared_without_a_copy(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    ndshm.put_tensors(name, {"w": torch.ones(2, 3), "b": torch.zeros(3, dtype=torch.int64)})
    with ndshm.open_tensors(name, "r+") as model:
        tensor = torch.from_numpy(model["w"])
        assert tensor.data_ptr() == model["w"].__array_interface__["data"][0]
        tensor.mul_(3)
        with ndshm.open_tensors(name) as seen:
            assert seen["w"].tolist() == [[3.0] * 3] * 2
        del tensor
    ndshm.unlink(name)
