"""Writes frames and sound as an mp4 file: H.264 (yuv420p) and AAC (mono), the same bytes for the same input."""

from fractions import Fraction

import numpy as np

from mmcsal.contracts.errors import ResourceError

_AUDIO_BIT_RATE = 64_000


def write_mp4(
    path: str,
    *,
    frames_THWC: np.ndarray | None,
    frame_rate_hz: int,
    sound_L: np.ndarray | None,
    sample_rate_hz: int,
    crf: int = 23,
    is_index_first: bool = False,
) -> None:
    """Encodes uint8 frames [T, H, W, 3] and a float32 sound [L] in [-1, 1] to `path`; None leaves a stream out.

    `is_index_first` puts the index (moov) before the data (mdat), as for streaming.

    Raises:
        ResourceError: this PyAV comes without the H.264 encoder.
    """
    import av  # here and not above: reading a manifest must not load a codec library

    options = {"movflags": "+faststart"} if is_index_first else {}
    with av.open(path, "w", format="mp4", options=options) as container:
        streams = []
        if frames_THWC is not None:
            streams.append((_add_video(container, frames_THWC, frame_rate_hz, crf), _video_frames(frames_THWC)))
        if sound_L is not None:
            stream = container.add_stream("aac", rate=sample_rate_hz, layout="mono", options={"aac_coder": "fast"})
            stream.bit_rate = _AUDIO_BIT_RATE
            streams.append((stream, _audio_frames(sound_L, sample_rate_hz)))
        for stream, frames in streams:
            for frame in (*frames, None):  # None: what the encoder still holds
                container.mux(stream.encode(frame))


def video_payload_spans(path: str) -> list[tuple[int, int]]:
    """Where the video's coded data lie in a file: (offset, length) in bytes of each packet."""
    import av

    with av.open(path) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        return [(p.pos, p.size) for p in packets if p.pos is not None]


def _add_video(container, frames_THWC: np.ndarray, frame_rate_hz: int, crf: int):
    from av.codec.codec import UnknownCodecError

    # For the same bytes every time: one thread, and no macroblock tree, whose vector code reads what it did not write.
    same_bytes = {"threads": "1", "x264-params": "mbtree=0"}
    options = {"preset": "superfast", "crf": str(crf), "g": str(frame_rate_hz), **same_bytes}
    try:
        stream = container.add_stream("libx264", rate=frame_rate_hz, options=options)
    except UnknownCodecError as error:
        raise ResourceError(
            "this PyAV has no libx264 encoder, the synthetic corpus needs it; pip install av"
        ) from error
    stream.height, stream.width = frames_THWC.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.thread_count = 1
    stream.time_base = Fraction(1, frame_rate_hz)
    return stream


def _video_frames(frames_THWC: np.ndarray):
    import av

    for t, frame_HWC in enumerate(frames_THWC):
        frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
        frame.pts = t
        yield frame


def _audio_frames(sound_L: np.ndarray, sample_rate_hz: int):
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound_L[None], dtype=np.float32), "fltp", "mono")
    frame.sample_rate = sample_rate_hz
    frame.pts = 0
    yield frame
