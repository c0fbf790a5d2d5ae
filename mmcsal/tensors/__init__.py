"""Torch functions that losses, models and metrics share. No model, no loss, no metric."""
