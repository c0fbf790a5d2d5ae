"""Tables -> figures -> one offline HTML file.

`build.build_report` is the entry; this file imports nothing, so that a configuration can name `spec.ReportSpec`
without loading matplotlib.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==========================================
T      frames of a clip, or time steps of a spectrogram
C      channels
L      samples of a waveform, or of a window of it
B      frequencies of a spectrum
F      mel bands
=====  ==========================================
"""
