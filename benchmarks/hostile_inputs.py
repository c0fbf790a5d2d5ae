"""The hostile and slipped inputs of `benchmarks.hostile`, by kind. Each is made here, and harmless outside of it."""

import csv
import gzip
import html
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.hostile_media import Evil, make_media
from mmcsal.contracts.embedding import vector_column
from mmcsal.storage.csv_cells import plain

SECRET = "hunter2-" + "never-to-be-told"
NUM_SAMPLES, BUDGET = 48, 40
# Of samples: what spreadsheets run, what breaks rows, what breaks pages, what breaks paths and terminals.
NAMES = (
    "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "a\rb", "a\nb", 'a"b', "a,b", "a;b", "<script>alert(1)</script>",
    "</table><img src=x onerror=alert(1)>", "{{ 7*7 }}", "{% raw %}", "../../outside/canary", "/etc/passwd",
    "\x1b[2J\x1b]0;x\x07", "\u202egpj.exe", "a" * 3000, "'=1", " ", "%00", "CON", "‮",
)  # fmt: skip


class PickledType(pa.ExtensionType):
    """As Ray Data names the type whose cells it unpickles."""

    def __init__(self) -> None:
        super().__init__(pa.large_binary(), "ray.data.arrow_pickled_object")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> "PickledType":
        return cls()


@dataclass
class Scene:
    """Where everything lies: what is outside of every run, the base run, and the copies that are tried."""

    folder: Path
    folders: tuple[str, ...] = field(default=("outside", "tried", "tmp", "home", "work", "corpus", "given"))

    def __post_init__(self) -> None:
        for name in self.folders:
            (self.folder / name).mkdir()
            setattr(self, name, self.folder / name)
        self.base = self.folder / "base"
        self.embeddings = self.given / "embeddings"

    outside: Path = field(init=False)
    tried: Path = field(init=False)
    tmp: Path = field(init=False)
    home: Path = field(init=False)
    work: Path = field(init=False)
    corpus: Path = field(init=False)
    given: Path = field(init=False)

    def fresh(self, case: "Case") -> Path:
        """The run directory of a case: a copy of the base, spoiled as the case says."""
        shutil.rmtree(self.tried)
        self.tried.mkdir()
        run_dir = self.tried / "run"
        if case.spoil is not None or case.from_base:
            shutil.copytree(self.base, run_dir, symlinks=True)
        if case.spoil is not None:
            case.spoil(self, run_dir)
        return run_dir

    def select_command(self, run_dir: Path) -> list[str]:
        given = ["--embeddings", str(self.embeddings), "--budget", str(BUDGET), "--out", str(run_dir)]
        return ["select", *given, "cluster.num_cpus=1"]


@dataclass(frozen=True)
class Case:
    """One input: the command that meets it, and what is done to a copy of the base run before."""

    kind: str
    name: str
    arguments: Callable[[Scene, Path], list[str]]
    spoil: Callable[[Scene, Path], object] | None = None
    from_base: bool = False
    cwd: Path | None = None


def prepare(scene: Scene) -> None:
    """The canaries, the embeddings of samples with hostile names, the media, and files that options may name."""
    (scene.outside / "canary").write_text("as it was")
    rng = np.random.default_rng(0)
    ids = [*NAMES, *(f"clip-{i}" for i in range(NUM_SAMPLES - len(NAMES)))]
    vectors = {f"{m}_embedding": vector_column(rng.normal(size=(NUM_SAMPLES, 8))) for m in ("video", "audio")}
    scene.embeddings.mkdir()
    pq.write_table(pa.table({"sample_id": ids, **vectors}), scene.embeddings / "part-0.parquet")
    os.mkfifo(scene.given / "pipe.csv")
    os.mkfifo(scene.given / "pipe.parquet")
    os.mkfifo(scene.given / "pipe.yaml")
    for name, content in _given_files(scene).items():
        (scene.given / name).write_bytes(content)
    pq.write_table(pickled_column(scene, {"sample_id": ["a"]}, "label"), scene.given / "pickled.parquet")
    make_media(scene.corpus, scene.outside)


Command = Callable[[Scene, Path], list[str]]


def _select(*more: str) -> Command:
    """Only checked: what it refuses, it refuses before it starts anything."""
    return lambda scene, run_dir: [
        *("select", "--embeddings", str(scene.embeddings), "--out", str(run_dir), "--check"),
        *more,
    ]


def on_run(name: str, *more: str) -> Command:
    return lambda scene, run_dir: [name, "--run-dir", str(run_dir), *more]


def cases(scene: Scene) -> Iterator[Case]:
    """All that one command alone meets."""
    yield from _command_lines(scene)
    yield from _configurations(scene)
    yield from _named_files(scene)
    yield from _run_directories(scene)


# --- command lines ---

VALUES = (
    "", " ", "x:", "no", "123", "p1 #2", "1:30", "010", "0x10", "1_000", "nan", "inf", "-5", "0", "1e400", "[1]",
    "{a: 1}", "&a [*a]", "!!python/name:os.system", "cost=-1", "cost=nan", "cost=", "500000", "٣", "1.5", "1,5",
)  # fmt: skip
OVERRIDES = (
    "seed=99999999999999999999999999", "cluster.address=nonsense", "evaluate.groups=[]", "media.frame_size_px=1e9",
    "media.num_frames=-1", "ingest.num_workers=0", "x.y.z=1", "__class__=1", "=", "select=", "select=[1]", "seed",
    "select.budget=1:30", "select.budget=true", "run_dir=[1]", "corpus={kind: nonsense}", "corpus=null",
    "select.include=/no/such/file.txt", "select.quotas=[{column: none}]", "media={window_s: .nan}",
    "select.strategy={kind: badge}", "max_reject_fraction=2", "select.strategy.lambda_align=.inf", "a" * 5000 + "=1",
    "select.budget=" + "[" * 2000, "media.decoder_memory_bytes=1",
)  # fmt: skip


WORDS = (
    ["nonsense"], ["report", "--nonsense"], ["status", "x.y=1"], ["select", "--budget"], ["report", "--out"],
    ["finetune", "--labels"], ["demo", "--redo", "x"], ["tune", "--embeddings", "/no/such", "--out", "x"],
)  # fmt: skip
URLS = (
    f"http://KEY:{SECRET}@host/clips", f"s3://KEY:{SECRET}@bucket/clips", f"gs://K:{SECRET}@b/x",
    f"s3://bucket/clips?X-Amz-Signature={SECRET}",
)  # fmt: skip


def _command_lines(scene: Scene) -> Iterator[Case]:
    kind = "command line"
    for value in VALUES:
        yield Case(kind, f"--budget {value!r}", _select("--budget", value), from_base=True)
    for value in VALUES[:6]:
        yield Case(kind, f"--corpus {value!r}", on_run("ingest", "--corpus", value))
        yield Case(kind, f"--run-dir {value!r}", lambda scene, run_dir, v=value: ["report", "--run-dir", v])
        yield Case(kind, f"--redo {value!r}", on_run("report", "--check", "--redo", value), from_base=True)
        labels = on_run("next-round", "--budget", "2", "--labels", value)
        yield Case(kind, f"--labels {value!r}", labels, from_base=True)
    for override in OVERRIDES:
        yield Case(kind, override[:60], _select(override), from_base=True)
    for words in WORDS:
        yield Case(kind, " ".join(words), lambda scene, run_dir, w=words: w)
    for url in URLS:
        yield Case("secrets", f"corpus {url[:8]}", on_run("ingest", "--corpus", url))
        yield Case("secrets", f"run dir {url[:8]}", lambda scene, run_dir, u=url: ["report", "--run-dir", u])
        yield Case("secrets", f"endpoint {url[:8]}", _select(f"storage.endpoint_url={url}"), from_base=True)


# --- configurations ---


def _bomb(depth: int = 30) -> str:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, depth))]
    return "\n".join(lines)


CONFIGURATIONS: dict[str, bytes] = {
    "alias bomb": _bomb().encode(),
    "alias bomb of merges": "\n".join(
        ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}" for i in range(1, 30))]
    ).encode(),
    "nesting": b"a: " + b"[" * 3000 + b"]" * 3000,
    "nesting of mappings": b"".join(b" " * i + b"a:\n" for i in range(1500)),
    "itself": b"a: &a [*a]",
    "python object": b"seed: !!python/object/apply:os.system ['touch canary']",
    "python name": b"seed: !!python/name:os.system",
    "duplicate keys": b"seed: 1\nseed: 2",
    "a list": b"- 1",
    "a number": b"1",
    "no bytes": b"",
    "zeros": bytes(1000),
    "not UTF-8": b"seed: \xff\xfe\xfd",
    "UTF-16": "seed: 1".encode("utf-16"),
    "5 MB": b"# " + b"x" * 5_000_000,
    "100,000 keys": b"".join(b"k%d: 1\n" % i for i in range(100_000)),
    "unknown key": b"sead: 1",
    "sexagesimal": b"select: {budget: 1:30}",
    "binary tag": b"run_dir: !!binary aGVsbG8=",
    "a date as a folder": b"run_dir: 2026-11-27",
    "two documents": b"seed: 1\n---\nseed: 2",
    "a pickle": pickle.dumps({"seed": 1}),
    "key of a key": b"? [a]\n: 1",
    "secret": f"corpus: 's3://KEY:{SECRET}@bucket/clips'".encode(),
}


def _configurations(scene: Scene) -> Iterator[Case]:
    given = scene.tried / "given.yaml"
    for name, content in CONFIGURATIONS.items():
        spoil = _file("../given.yaml", content)
        yield Case("configuration", name, _select("--config", str(given)), spoil)
        yield Case("saved configuration", name, on_run("report"), _file("config.yaml", content))


# --- files that options name ---


def _given_files(scene: Scene) -> dict[str, bytes]:
    return {
        "empty.csv": b"",
        "zeros.csv": bytes(10_000),
        "header.csv": b"sample_id,label\n",
        "ragged.csv": b"sample_id,label\na,b,c\nd\n",
        "unclosed.csv": b'sample_id,label\n"a,b\n' + b"x" * 100_000,
        "columns.csv": b",".join(b"c%d" % i for i in range(20_000)) + b"\n",
        "latin.csv": b"sample_id,label\n\xe9,1\n",
        "clash.csv": b"sample_id,label\na,1\na,2\n",
        "formula.csv": b"path,sample_id\n=cmd|' /C calc'!A0,=1\n",
        "devices.csv": b"path\n/dev/zero\n/dev/random\n/proc/self/environ\n/dev/stdin\n",
        "web.csv": b"path\nhttp://10.99.0.2/a.mp4\nftp://10.99.0.2/a.mp4\n",
        "twice.csv": b"path,sample_id\n/a.mp4,a\n/b.mp4,a\n",
        "times.csv": b"path,start_s,duration_s\n/a.mp4,nan,-1\n",
        "up.csv": b"path\n../../../../etc/passwd\n",
        "fake.parquet": b"PAR1" + os.urandom(1000) + b"PAR1",
        "short.parquet": b"PAR1",
        "zeros.parquet": bytes(1000),
        "pickle.parquet": pickle.dumps(Evil(scene.outside)),
        "zipped.csv": gzip.compress(bytes(10_000_000)),
    }


def _named_files(scene: Scene) -> Iterator[Case]:
    names = [*_given_files(scene), "pipe.csv", "pipe.parquet", "pickled.parquet", "missing.csv", "."]
    for name in names:
        path = str(scene.given / name)
        yield Case("labels", name, on_run("next-round", "--budget", "2", "--labels", path), from_base=True)
        for command in ("evaluate", "tune"):
            given = ("--embeddings", str(scene.embeddings), "--labels", path)
            yield Case("labels", f"{command} {name}", on_run(command, "--check", *given))
        yield Case("labels", f"finetune {name}", on_run("finetune", "--check", "--labels", path), from_base=True)
        yield Case("lists of ids", name, _select(f"select.include={path}"), from_base=True)
        if name not in ("devices.csv", "up.csv", "formula.csv", "times.csv"):  # those are media: see there
            yield Case("manifests", name, on_run("ingest", "--corpus", path))
    yield Case("configuration", "a pipe", on_run("ingest", "--check", "--config", str(scene.given / "pipe.yaml")))
    for name in ("fake.parquet", "short.parquet", "pickle.parquet", "pickled.parquet", "pipe.parquet"):
        more = ("--check", "--budget", "2", "--embeddings", str(scene.given / name))
        yield Case("embeddings", name, on_run("select", *more))


# --- run directories ---


def pickled_column(scene: Scene, columns: dict[str, list], name: str) -> pa.Table:
    """A table of which one column would be unpickled by Ray Data's type of it."""
    num_rows = len(next(iter(columns.values())))
    evil = pa.array([pickle.dumps(Evil(scene.outside))] * num_rows, pa.large_binary())
    return pa.table(columns | {name: pa.ExtensionArray.from_storage(PickledType(), evil)})


def part_of(run_dir: Path, folder: str) -> Path:
    return next(iter(sorted((run_dir / folder).rglob("*.parquet"))))


def spoiled_part(folder: str, column: str) -> Callable[[Scene, Path], object]:
    def spoil(scene: Scene, run_dir: Path) -> None:
        (run_dir / folder).mkdir(exist_ok=True)
        path = (
            part_of(run_dir, folder)
            if any((run_dir / folder).rglob("*.parquet"))
            else run_dir / folder / "part-00000.parquet"
        )
        columns = pq.read_table(path).to_pydict() if path.exists() else {"sample_id": ["a"], "stage": ["ingest"]}
        columns.pop(column, None)
        pq.write_table(pickled_column(scene, columns, column), path)

    return spoil


def _file(name: str, content: bytes) -> Callable[[Scene, Path], object]:
    return lambda scene, run_dir: (run_dir / name).write_bytes(content)


def _marker(folder: str, name: str, content: str) -> Callable[[Scene, Path], object]:
    return lambda scene, run_dir: (run_dir / folder / name).write_text(content)


def _link(name: str, target: str) -> Callable[[Scene, Path], object]:
    """In the place of a file or folder of the run, a link to something outside of it."""

    def spoil(scene: Scene, run_dir: Path) -> None:
        place = run_dir / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(scene.outside / target)

    return spoil


def _pipe(name: str) -> Callable[[Scene, Path], object]:
    def spoil(scene: Scene, run_dir: Path) -> None:
        (run_dir / name).unlink(missing_ok=True)
        os.mkfifo(run_dir / name)

    return spoil


def _no_part(folder: str) -> Callable[[Scene, Path], object]:
    return lambda scene, run_dir: part_of(run_dir, folder).unlink()


def _cut(folder: str) -> Callable[[Scene, Path], object]:
    return lambda scene, run_dir: part_of(run_dir, folder).write_bytes(part_of(run_dir, folder).read_bytes()[:100])


SPOILED: dict[str, Callable[[Scene, Path], object]] = {
    "lock is a link": _link(".lock", "canary"),
    "config is a link": _link("config.yaml", "canary"),
    "status is a link": _link("status.json", "canary"),
    "error is a link": _link("error.txt", "canary"),
    "report is a link": _link("report", "."),
    "page is a link": _link("report/report.html", "canary"),
    "list is a link": _link("report/selection.csv", "canary"),
    "selection is a link": _link("selection", "."),
    "metrics is a link": _link("metrics", "."),
    "config is a pipe": _pipe("config.yaml"),
    "status is a pipe": _pipe("status.json"),
    "lock is a pipe": _pipe(".lock"),
    "status is a pickle": _file("status.json", pickle.dumps({})),
    "status is cut": _file("status.json", b'{"state": "run'),
    "status is a list": _file("status.json", b"[]"),
    "status is empty": _file("status.json", b"{}"),
    "status nests": _file("status.json", b"[" * 100_000),
    "attempt outside": _marker(
        "selection", "_STARTED.json", json.dumps({"attempt": "../../../outside", "settings": {}})
    ),
    "attempt is absolute": _marker("selection", "_STARTED.json", json.dumps({"attempt": "/tmp", "settings": {}})),
    "attempt is a number": _marker("selection", "_STARTED.json", json.dumps({"attempt": 7})),
    "attempt is empty": _marker("report", "_STARTED.json", json.dumps({"attempt": ""})),
    "marker is cut": _marker("selection", "_COMMITTED.json", '{"num'),
    "marker is a list": _marker("selection", "_COMMITTED.json", "[1]"),
    "marker is a number": _marker("report", "_COMMITTED.json", "7"),
    "marker nests": _marker("selection", "_COMMITTED.json", "[" * 100_000),
    "pickled rejects": spoiled_part("rejects", "reason"),
    "pickled selection": spoiled_part("selection", "reason"),
    "pickled metrics": spoiled_part("metrics", "name"),
    "no selection": _no_part("selection"),
    "selection is cut": _cut("selection"),
    "no candidates": _no_part("candidates"),
}


def _run_directories(scene: Scene) -> Iterator[Case]:
    for name, spoil in SPOILED.items():
        yield Case("run directory: report", name, on_run("report", "--redo", "report"), spoil)
        yield Case("run directory: status", name, on_run("status"), spoil)
        yield Case("run directory: check", name, _select("--budget", str(BUDGET)), spoil)


def check_names(scene: Scene) -> list[str]:
    """What hostile names of samples have done to the list and the page of the base run."""
    harms = []
    with (scene.base / "report" / "selection.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [row["sample_id"] for row in csv.DictReader(file)]
    picked = pq.read_table(part_of(scene.base, "selection"))["sample_id"].to_pylist()
    if [plain(cell) for cell in cells] != picked:
        harms.append("selection.csv has other rows than the selection")
    harms += [f"a formula: {c!r}" for c in cells if c.lstrip("\t\r\n").startswith(("=", "+", "-", "@"))]
    page = (scene.base / "report" / "report.html").read_text()
    harms += [f"markup: {n}" for n in NAMES if "<" in n and n in page and html.escape(n) not in page]
    return harms
