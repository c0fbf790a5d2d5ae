"""Pictures of one clip: a strip of its frames and its log-mel spectrogram, as small image files."""

from io import BytesIO

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont

from mmcsal.report.facts import ContactClip

FRAME_HEIGHT_PX = 112
STRIP_GAP_PX = 4
CAPTION_HEIGHT_PX = 22
MAX_CAPTION_CHARACTERS = 60
MIN_CELL_WIDTH_PX = 240
JPEG_QUALITY = 80  # frames as PNG would take ten times the bytes

WINDOW_SAMPLES = 512
HOP_SAMPLES = 160
NUM_MEL_BANDS = 64
MAX_MEL_COLUMNS = 400  # more than a card has pixels
DYNAMIC_RANGE_DB = 80.0
FULL_SCALE = 32768.0
SILENCE_DB = -100.0  # under full scale: the loudest moment of a silent clip is drawn no brighter than this floor


def strip_jpeg(frames_THWC: np.ndarray, num_frames: int) -> bytes:
    """`num_frames` frames from the beginning to the end of the clip, side by side."""
    return encode(Image.fromarray(strip(frames_THWC, num_frames)), "JPEG", quality=JPEG_QUALITY, optimize=True)


def strip(frames_THWC: np.ndarray, num_frames: int) -> np.ndarray:
    """uint8 [H, W, 3]: frames spread evenly over the clip, with white between them."""
    count = min(num_frames, len(frames_THWC))
    indices = np.linspace(0, len(frames_THWC) - 1, count).round().astype(int)
    tiles = [_fit_height(frames_THWC[i]) for i in indices]
    gap = np.full((FRAME_HEIGHT_PX, STRIP_GAP_PX, 3), 255, dtype=np.uint8)
    return np.hstack([part for tile in tiles for part in (tile, gap)][:-1])


def _fit_height(frame_HWC: np.ndarray) -> np.ndarray:
    height, width = frame_HWC.shape[:2]
    size = (max(1, round(width * FRAME_HEIGHT_PX / height)), FRAME_HEIGHT_PX)
    return np.asarray(Image.fromarray(np.ascontiguousarray(frame_HWC)).resize(size, Image.Resampling.LANCZOS))


def log_mel_png(sound_L: np.ndarray, sample_rate_hz: int) -> bytes:
    """The log-mel picture of a waveform, low notes at the bottom, quiet dark to loud bright."""
    levels_FT = (log_mel_FT(sound_L, sample_rate_hz)[::-1] * 255).round().astype(np.uint8)
    image = Image.fromarray(levels_FT, mode="P")
    image.putpalette((colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    return encode(image, "PNG", optimize=True)


def log_mel_FT(sound_L: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Level in [0, 1] by mel band and time: 1 is the clip's loudest moment, 0 is 80 dB under it, or silence."""
    waveform_L = sound_L.astype(np.float64) / FULL_SCALE
    waveform_L = np.pad(waveform_L, (0, max(0, WINDOW_SAMPLES - len(waveform_L))))
    windows_TL = np.lib.stride_tricks.sliding_window_view(waveform_L, WINDOW_SAMPLES)[::HOP_SAMPLES]
    spectrum_TB = np.abs(np.fft.rfft(windows_TL * np.hanning(WINDOW_SAMPLES), axis=1)) ** 2
    power_FT = _at_most_columns(mel_filters_FB(sample_rate_hz) @ spectrum_TB.T, MAX_MEL_COLUMNS)
    level_db_FT = 10 * np.log10(np.maximum(power_FT, 10 ** (SILENCE_DB / 10)))
    top_db = max(level_db_FT.max(), SILENCE_DB + DYNAMIC_RANGE_DB)
    return np.clip((level_db_FT - top_db) / DYNAMIC_RANGE_DB + 1, 0, 1)


def mel_filters_FB(sample_rate_hz: int) -> np.ndarray:
    """Triangular filters, evenly spaced in mel (HTK), over the bins of the spectrum."""
    top_mel = 2595 * np.log10(1 + sample_rate_hz / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, NUM_MEL_BANDS + 2) / 2595) - 1)
    bins_hz = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / sample_rate_hz)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    filters_FB = np.maximum(0, np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)))
    # The lowest bands are narrower than a bin: where no bin falls in, the nearest one stands for it.
    empty = filters_FB.sum(axis=1) == 0
    filters_FB[empty, np.abs(bins_hz - centre[empty]).argmin(axis=1)] = 1
    return filters_FB


def _at_most_columns(power_FT: np.ndarray, num_columns: int) -> np.ndarray:
    """Means over neighbouring time steps, so that no short sound is skipped."""
    if power_FT.shape[1] <= num_columns:
        return power_FT
    starts = np.linspace(0, power_FT.shape[1], num_columns, endpoint=False).astype(int)
    widths = np.diff([*starts, power_FT.shape[1]])
    return np.add.reduceat(power_FT, starts, axis=1) / widths


def contact_sheet_png(clips: tuple[ContactClip, ...], num_frames: int, num_columns: int = 4) -> bytes:
    """All pictures of the contact sheet as one image, by rank from left to right; `clips` is not empty."""
    cells = [_cell(clip, num_frames) for clip in clips]
    width, height = max(c.width for c in cells), max(c.height for c in cells)
    margin = 16
    num_columns = min(num_columns, len(cells))
    num_rows = -(-len(cells) // num_columns)
    size = (num_columns * (width + margin) + margin, num_rows * (height + margin) + margin)
    sheet = Image.new("RGB", size, "white")
    for index, cell in enumerate(cells):
        row, column = divmod(index, num_columns)
        sheet.paste(cell, (margin + column * (width + margin), margin + row * (height + margin)))
    return encode(sheet, "PNG")


def _cell(clip: ContactClip, num_frames: int) -> Image.Image:
    parts = []
    if clip.frames_THWC is not None:
        parts.append(Image.fromarray(strip(clip.frames_THWC, num_frames)))
    width = max(parts[0].width, MIN_CELL_WIDTH_PX) if parts else MAX_MEL_COLUMNS
    if clip.sound_L is not None:
        with Image.open(BytesIO(log_mel_png(clip.sound_L, clip.sample_rate_hz))) as picture:
            parts.append(picture.convert("RGB").resize((width, NUM_MEL_BANDS)))
    parts.insert(0, _caption(f"{clip.pick.number}  {clip.pick.sample_id}", width))
    cell = Image.new("RGB", (width, sum(p.height + STRIP_GAP_PX for p in parts)), "white")
    top = 0
    for part in parts:
        cell.paste(part, (0, top))
        top += part.height + STRIP_GAP_PX
    return cell


def _caption(text: str, width: int) -> Image.Image:
    caption = Image.new("RGB", (width, CAPTION_HEIGHT_PX), "white")
    # Pillow's own font has Latin letters alone; the HTML shows every id whole.
    plain = "".join(c if " " <= c <= "~" else "?" for c in text[:MAX_CAPTION_CHARACTERS])
    ImageDraw.Draw(caption).text((0, 2), plain, fill="#334155", font=ImageFont.load_default(size=15))
    return caption


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image file, without a date or the name of a program."""
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
