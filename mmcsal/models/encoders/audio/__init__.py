"""Encoders of sound, one a file, and the log-mel front that they share."""
