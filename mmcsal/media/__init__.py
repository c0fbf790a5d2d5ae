"""Bytes to clips: probe, sample, decode; in a child process, so that a broken file costs only itself."""
