"""What `--check` tells of a corpus before a run: samples, kinds, hours, and what ingest will refuse and why.

The corpus is listed, not hashed, and the samples of the lowest hashes are decoded as ingest would decode them, in its
child process, until there are enough of them or the time is up.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.ids import order_by_hash
from mmcsal.datasets import SyntheticSpec, read_corpus
from mmcsal.distributed.workers.ingest import known_error, source_of
from mmcsal.media.decode import Clip, Source
from mmcsal.media.decode_process import DecodeProcess
from mmcsal.media.fetch import decode_fetched, remote_uris
from mmcsal.media.probe import MediaError
from mmcsal.storage.uri import StorageSpec, open_uri

MAX_SAMPLES = 64
MAX_S = 10.0  # of looking at samples; listing comes on top
MAX_FETCHED_BYTES = 64 << 20  # of an object that is looked at
MAX_EXAMPLES = 3


@dataclass
class _Seen:
    """What some samples of the corpus turned out to be."""

    kinds: Counter[str] = field(default_factory=Counter)
    refused: dict[str, list[str]] = field(default_factory=dict)  # ids by reason
    duration_s: float = 0.0
    num_passed_over: int = 0  # objects that would take too long to fetch

    @property
    def num_clips(self) -> int:
        return self.kinds.total()

    @property
    def num_looked_at(self) -> int:
        return self.num_clips + sum(map(len, self.refused.values()))


def describe_corpus(config: RunConfig) -> Iterator[str]:
    """One line for each thing that there is to say of the corpus; what cannot be reached from here is no error.

    Yields:
        the number of samples and what is left out; then kinds, hours and what will be refused, of a sample.
    """
    spec = config.corpus
    if spec is None:
        return
    if isinstance(spec, SyntheticSpec):
        yield f"corpus: {spec.num_clips} clips and {spec.num_broken} broken files, rendered into {spec.path}"
        return
    try:
        scan = read_corpus(spec, config.storage, has_hashes=False)
    except InputError as error:
        yield f"corpus: not looked at: {error}"
        return
    num_samples = scan.manifest.num_rows
    yield f"corpus: {num_samples:,} samples in {spec.path}"
    yield from (f"  {warning}" for warning in scan.warnings())
    order = order_by_hash(scan.manifest["sample_id"].to_pylist())[:MAX_SAMPLES]
    seen = _look_at(scan.manifest.take(order).to_pylist(), config)
    yield from _described(seen, num_samples)


def _described(seen: _Seen, num_samples: int) -> Iterator[str]:
    if seen.num_passed_over:
        yield f"  {seen.num_passed_over} objects of more than {MAX_FETCHED_BYTES >> 20} MiB are not looked at"
    if not seen.num_looked_at:
        return
    of = "all of them" if seen.num_looked_at == num_samples else f"{seen.num_looked_at} of them"
    yield f"  looked at {of}: {seen.num_clips} can be decoded{': ' if seen.kinds else ''}" + ", ".join(
        f"{count} {kind}" for kind, count in seen.kinds.most_common()
    )
    hours = seen.duration_s / 3600 * num_samples / seen.num_looked_at
    about = "" if seen.num_looked_at == num_samples else "about "
    yield f"  {about}{hours:.3g} hours that can be decoded"
    for reason, ids in sorted(seen.refused.items(), key=lambda group: (-len(group[1]), group[0])):
        more = f" and {len(ids) - MAX_EXAMPLES} more" if len(ids) > MAX_EXAMPLES else ""
        yield f"  refused as {reason}: {len(ids)} of {seen.num_looked_at}: {', '.join(ids[:MAX_EXAMPLES])}{more}"


def _look_at(rows: list[dict[str, Any]], config: RunConfig) -> _Seen:
    seen, until_s = _Seen(), time.monotonic() + MAX_S
    media = config.media.model_copy(update={"timeout_s": min(config.media.timeout_s, MAX_S)})
    with DecodeProcess(media) as decoder:
        for row in rows:
            if time.monotonic() > until_s:
                break
            source = source_of(row)
            if _takes_long_to_fetch(source, config.storage):
                seen.num_passed_over += 1
                continue
            result = known_error(row) or next(iter(decode_fetched([source], decoder.map, config.storage)))
            if isinstance(result, MediaError):
                seen.refused.setdefault(str(result.reason), []).append(source.sample_id)
            else:
                seen.kinds[_kind_of(result)] += 1
                seen.duration_s += result.duration_s
    return seen


def _takes_long_to_fetch(source: Source, storage: StorageSpec) -> bool:
    sizes = []
    for uri in remote_uris(source):
        filesystem, path = open_uri(uri, storage, what="media")
        sizes.append(filesystem.get_file_info(path).size or 0)
    return sum(sizes) > MAX_FETCHED_BYTES


def _kind_of(clip: Clip) -> str:
    facts = clip.facts
    return f"{facts.container.split(',')[0]} ({facts.video_codec}, {facts.audio_codec})"
