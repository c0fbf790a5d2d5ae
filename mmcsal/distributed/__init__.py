"""The stages on Ray. Everything below this folder runs without Ray."""
