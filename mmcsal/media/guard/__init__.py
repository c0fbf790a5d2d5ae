"""The decoder child: what it and its worker say to each other, what it may do, and its loop.

The worker's side is `mmcsal.media.decode_process`; how a file is decoded is no business of this room.
"""
