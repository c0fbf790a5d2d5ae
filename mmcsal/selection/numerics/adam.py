"""Adam (Kingma & Ba 2015) in float64, for the strategies that move vectors."""

import numpy as np

MEAN_DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """The two running means of the gradients of one array."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._mean_PD, self._square_PD = np.zeros(shape), np.zeros(shape)
        self._num_steps = 0

    def step(self, gradient_PD: np.ndarray, learning_rate: float) -> np.ndarray:
        """What to add to the array."""
        self._num_steps += 1
        self._mean_PD += (1 - MEAN_DECAY) * (gradient_PD - self._mean_PD)
        self._square_PD += (1 - SQUARE_DECAY) * (gradient_PD**2 - self._square_PD)
        mean_scale, square_scale = 1 - MEAN_DECAY**self._num_steps, 1 - SQUARE_DECAY**self._num_steps
        return -learning_rate / mean_scale * self._mean_PD / (np.sqrt(self._square_PD / square_scale) + EPSILON)
