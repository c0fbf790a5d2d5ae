"""The Ray session itself: connecting, resources, errors, retries, telemetry. Of stages it knows what they ask for, not what they do."""
