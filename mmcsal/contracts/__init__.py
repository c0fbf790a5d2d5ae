"""What stages hand to each other: the Arrow schema of every table, one table a file.

Shape suffixes, used in names all over the package (`embedding_ND`, `frames_THWC`). A digit is a size (`points_N2`).
These letters mean the same everywhere:

=====  ==========================================
N      samples of a table or a pool
D      width of an embedding
P      picks of a selection
H, W   height and width in pixels
=====  ==========================================

Each package lists the letters that it adds in its own docstring, none of them twice. Here it is one:

=====  ==========================================
C      hashes that others are looked up among
=====  ==========================================
"""
