import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmcsal.media.sample import Window, choose_frames, choose_window, part_of, slice_middles_s

seconds = st.floats(0.1, 1000)


def test_a_long_sample_gives_its_middle():
    assert choose_window(Window(0.0, 60.0), 10.0) == Window(25.0, 10.0)


def test_a_long_sample_gives_its_start_where_that_is_asked():
    assert choose_window(Window(2.0, 60.0), 10.0, "start") == Window(2.0, 10.0)


def test_a_part_of_a_file_gives_the_middle_of_the_part():
    assert choose_window(part_of(0.0, 60.0, 20.0, 20.0), 10.0) == Window(25.0, 10.0)


def test_a_short_sample_is_used_whole():
    assert choose_window(part_of(0.0, 4.0, None, None), 10.0) == Window(0.0, 4.0)


def test_a_sample_lasts_for_as_long_as_there_is_a_picture():
    assert part_of(0.75, 4.0, None, None) == Window(0.75, 3.25)
    assert part_of(0.75, 4.0, 0.0, 2.0) == Window(0.75, 1.25)


def test_a_part_that_begins_after_the_end_is_empty():
    assert part_of(0.0, 4.0, 5.0, 2.0).duration_s < 0


@given(seconds, seconds, seconds, seconds, seconds, st.sampled_from(["middle", "start"]))
def test_the_window_stays_inside_the_part_and_the_picture(begin_s, end_s, start_s, duration_s, window_s, where):
    window = choose_window(part_of(begin_s, end_s, start_s, duration_s), window_s, where)
    if window.duration_s > 0:
        assert window.start_s >= max(start_s, begin_s) - 1e-9
        assert window.start_s + window.duration_s <= min(end_s, start_s + duration_s) + 1e-6
        assert window.duration_s <= window_s


def test_frames_are_those_on_screen_in_the_middle_of_each_slice():
    times_s = np.arange(32) / 16
    assert choose_frames(times_s, slice_middles_s(Window(0.0, 2.0), 4)).tolist() == [4, 12, 20, 28]


def test_uneven_frame_times_are_followed():
    times_s = np.array([0.0, 0.1, 1.9])
    assert choose_frames(times_s, slice_middles_s(Window(0.0, 2.0), 2)).tolist() == [1, 1]


@given(st.integers(1, 200), st.integers(2, 64), seconds, seconds)
def test_frame_indices_ascend_and_exist(num_file_frames, num_frames, start_s, duration_s):
    times_s = slice_middles_s(Window(start_s, duration_s), num_frames)
    indices = choose_frames(np.arange(num_file_frames) / 25, times_s)
    assert len(indices) == num_frames
    assert (np.diff(indices) >= 0).all()
    assert indices.min() >= 0
    assert indices.max() < num_file_frames
