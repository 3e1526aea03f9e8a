import struct

import numpy as np
import pytest

from cnn.data import DataError, read_idx


def idx(code: int, shape: tuple[int, ...], body: bytes) -> bytes:
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")],
)
def test_every_element_type(code, dtype):
    expected = np.array([[1, 2, 3], [100, 5, 6]], dtype)
    got = read_idx(idx(code, (2, 3), expected.astype(f">{dtype}").tobytes()), "a file")
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.dtype(dtype)
    assert got.dtype.isnative
    assert got.flags.writeable
    assert got.flags.c_contiguous


def test_an_axis_of_size_zero():
    assert read_idx(idx(8, (0, 28, 28), b""), "a file").shape == (0, 28, 28)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "a file is not an IDX file: its first bytes are missing"),
        (b"<!DOCTYPE html>", "a file is not an IDX file: its first bytes are 3c 21 44 4f"),
        (idx(0x07, (1,), b"x"), "element type, is 07, expected one of 08, 09"),
        (bytes([0, 0, 8, 3, 0, 0]), "header of 3 sizes takes 16 bytes, got 6"),
        (idx(8, (2, 2), b"abc"), r"cut short: with an array of shape \(2, 2\) it has 16 bytes, got 15"),
        (idx(8, (2, 2), b"abcde"), "too long: .* it has 16 bytes, got 17"),
        (idx(0x0C, (2,), b"12345"), "it has 16 bytes, got 13"),
        # Sizes whose product overflows 64 bits must not wrap around to a small number.
        (idx(8, (2**31, 2**31, 4), b""), "cut short"),
        # NumPy has no such arrays, although the file has the bytes for them.
        (idx(8, (1,) * 65, b"x"), "a file has a header of 65 sizes that no NumPy array has: .* 64"),
        (idx(8, (1,) * 255, b"x"), "header of 255 sizes"),
        (idx(8, (0, 2**32 - 1, 2**32 - 1, 2**32 - 1), b""), "header of 4 sizes"),
    ],
)
def test_errors_say_what_is_wrong(payload, words):
    with pytest.raises(DataError, match=words):
        read_idx(payload, "a file")
