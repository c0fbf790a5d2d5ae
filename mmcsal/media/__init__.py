"""Bytes to clips: probe, sample, decode; in a child process, so that a broken file costs only itself.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==========================================
T      frames of a clip
C      channels
L      samples of a waveform
=====  ==========================================
"""
