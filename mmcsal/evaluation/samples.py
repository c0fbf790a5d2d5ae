"""Samples embeddings, and how a seed splits them into a pool and a test set; without labels, into two parts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.ids import hash_ids

MIN_TEST_ROWS = 10


@dataclass(frozen=True)
class Samples:
    """Embeddings of samples, in the order of their ids, and their classes; a nameless one where none is known."""

    ids: np.ndarray  # of strings
    a_ND: np.ndarray  # float32
    v_ND: np.ndarray
    label_N: np.ndarray  # int64, the place of the class in `classes`
    classes: tuple[str, ...]
    is_misaligned_N: np.ndarray | None = None  # pairs known not to belong together; None = nothing is known

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_labels(self) -> bool:
        """Whether there is anything to learn."""
        return len(self.classes) > 1

    @property
    def labels(self) -> list[str]:
        """The class of each sample by name."""
        return [self.classes[number] for number in self.label_N]

    def take(self, rows: np.ndarray) -> "Samples":
        """The samples of these rows."""
        known = None if self.is_misaligned_N is None else self.is_misaligned_N[rows]
        return Samples(self.ids[rows], self.a_ND[rows], self.v_ND[rows], self.label_N[rows], self.classes, known)


def labeled(
    ids: Sequence[str],
    a_ND: np.ndarray,
    v_ND: np.ndarray,
    labels: Sequence[str],
    is_misaligned: Sequence[bool] | None = None,
) -> Samples:
    """Sorted by id; classes by name."""
    id_N = np.asarray(ids, object)
    order = np.argsort(id_N)
    classes, label_N = np.unique(np.asarray(labels, object).astype(str), return_inverse=True)
    known = None if is_misaligned is None else np.asarray(is_misaligned, bool)[order]
    return Samples(
        id_N[order], a_ND[order], v_ND[order], label_N[order].astype(np.int64), tuple(classes.tolist()), known
    )


def unlabeled(ids: Sequence[str], a_ND: np.ndarray, v_ND: np.ndarray) -> Samples:
    """Samples of one class without a name, sorted by id: they can be split and selected from."""
    return labeled(ids, a_ND, v_ND, [""] * len(ids))


def split(samples: Samples, *, test_fraction: float, seed: int, section: str = "evaluate") -> tuple[Samples, Samples]:
    """The pool and the test set: of each class the samples of lowest hash are tested, and never selected.

    Samples known to be misaligned stay in the pool, where strategies have to cope with them: as test samples they would
    ask for a class that one of their modalities does not show.

    Args:
        section: of the configuration, that says which fraction.

    Raises:
        InputError: so few samples that there is nothing to test.
    """
    hash_N = hash_ids(samples.ids.tolist(), salt=f"evaluate:{seed}")
    is_clean_N = np.ones(len(samples), bool) if samples.is_misaligned_N is None else ~samples.is_misaligned_N
    is_test_N = np.zeros(len(samples), bool)
    for number in range(len(samples.classes)):
        rows = np.flatnonzero((samples.label_N == number) & is_clean_N)
        num_test = round(test_fraction * len(rows))
        is_test_N[rows[np.argsort(hash_N[rows])[:num_test]]] = True
    if is_test_N.sum() < MIN_TEST_ROWS:
        raise InputError(
            f"{section}: {int(is_test_N.sum())} of {len(samples)} samples would be tested; "
            f"at least {MIN_TEST_ROWS} are needed: give more {'labels' if samples.has_labels else 'samples'}, or raise "
            f"{section}.test_fraction"
        )
    return samples.take(np.flatnonzero(~is_test_N)), samples.take(np.flatnonzero(is_test_N))
