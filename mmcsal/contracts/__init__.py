"""What stages hand to each other: the Arrow schema of every table, one table a file.

Shape suffixes, used in names all over the package (`video_BTHWC`, `embedding_ND`):

=====  ==========================================
N      samples of a table or a pool
B      samples of one batch
T      frames of a clip, or time steps of a spectrogram
H, W   height and width in pixels
C      channels
L      samples of a waveform
F      mel bands
D      width of an embedding
K      prototypes
M      anchors
P      picks of a selection
=====  ==========================================
"""
