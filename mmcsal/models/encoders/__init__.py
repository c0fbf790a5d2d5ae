"""From a clip to features, one folder a modality, and the blocks that several share. No heads, no towers."""
