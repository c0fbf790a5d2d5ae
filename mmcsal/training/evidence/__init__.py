"""What training tells of whether a sample's modalities belong together: decoys, and the log p of the own partner."""
