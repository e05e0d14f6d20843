"""The matrix as training reads it: the file's rows, not a copy of it; on a GPU if it fits."""

import numpy as np
import torch

from catid2.quantizer.matrix import DEVICE_SHARE, Matrix, fits


def test_rows_and_mean_are_those_of_the_file_and_nothing_is_copied(tmp_path):
    content = np.random.default_rng(0).normal(3, 1, (70_000, 5)).astype(np.float16)
    np.save(tmp_path / "matrix.npy", content)
    mapped = np.load(tmp_path / "matrix.npy", mmap_mode="r")
    matrix = Matrix(mapped, torch.device("cpu"))
    assert (len(matrix), matrix.shape) == (70_000, (70_000, 5))
    rows = torch.tensor([69_999, 0, 7, 7])
    assert torch.equal(matrix[rows], torch.from_numpy(content[rows]))
    assert matrix[rows].is_contiguous()
    assert matrix._rows.data_ptr() == mapped.ctypes.data
    np.testing.assert_allclose(matrix.mean(), content.astype(np.float64).mean(0), rtol=1e-7)


def test_a_device_may_be_named_with_and_without_its_number():
    # "cpu:0" stands in for "cuda", which is not equal to the "cuda:0" of its tensors either
    content = np.arange(6, dtype=np.float16).reshape(3, 2)
    rows = Matrix(content, torch.device("cpu:0"))[torch.tensor([2, 0])]
    assert torch.equal(rows, torch.from_numpy(content[[2, 0]]))


def test_a_matrix_lies_on_a_gpu_only_with_room_to_spare():
    free = 80_000_000_000
    assert fits(int(DEVICE_SHARE * free), free)
    assert not fits(int(DEVICE_SHARE * free) + 1, free)
