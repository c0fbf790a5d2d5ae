"""Stage 1 in plain torch: state, step, epoch, data, evaluation. Nothing here knows of Ray.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==========================================
B      samples of one batch
S      samples of one worker's share
T      frames of a clip
C      channels, or features
L      samples of a waveform
K      prototypes
M      masks of a spectrogram
=====  ==========================================
"""
