"""The Ray session itself: connecting, resources, errors, retries, telemetry. Nothing here knows what a stage does."""
