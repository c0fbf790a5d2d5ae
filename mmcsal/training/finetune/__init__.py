"""The downstream classifier and the encoders on labeled clips; what pretraining shares with it is one folder up."""
