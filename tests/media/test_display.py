import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcsal.media.display import Display, crop_middle, scaled_size

FRAME_HW1 = np.arange(6).reshape(2, 3, 1)


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(16, 512))
def test_scaled_size_covers_the_crop(width_px, height_px, short_side_px):
    width, height = scaled_size(width_px, height_px, short_side_px)
    assert min(width, height) == short_side_px


def test_pixels_become_square():
    assert scaled_size(720, 576, 90, 64 / 45) == (160, 90)
    assert scaled_size(320, 120, 120, 1 / 2) == (160, 120)


@pytest.mark.parametrize(
    ("display", "shown"),
    [
        (Display(), [[0, 1, 2], [3, 4, 5]]),
        (Display(is_flipped_x=True), [[2, 1, 0], [5, 4, 3]]),
        (Display(is_flipped_x=True, is_flipped_y=True), [[5, 4, 3], [2, 1, 0]]),
        (Display(is_transposed=True), [[0, 3], [1, 4], [2, 5]]),
        (Display(is_transposed=True, is_flipped_x=True), [[3, 0], [4, 1], [5, 2]]),
        (Display(is_transposed=True, is_flipped_y=True), [[2, 5], [1, 4], [0, 3]]),
    ],
)
def test_a_frame_is_turned_as_its_display_says(display, shown):
    assert display.upright(FRAME_HW1)[..., 0].tolist() == shown


def test_the_middle_is_cropped():
    assert crop_middle(np.arange(10).reshape(2, 5, 1), 2)[..., 0].tolist() == [[1, 2], [6, 7]]
