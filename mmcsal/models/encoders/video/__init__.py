"""Encoders of frames, one a file."""
