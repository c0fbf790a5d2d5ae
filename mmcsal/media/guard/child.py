"""The decoder child: gives up its rights, then answers one source after another until its worker goes away."""

import os
import socket
import threading
import time

from mmcsal.media.guard.sandbox import confine, is_out_of_memory, limit_resources

# Before what follows is loaded: its threads are held back too.
LAYERS = confine()

import av.logging  # noqa: E402

from mmcsal.contracts.reject import Reason  # noqa: E402
from mmcsal.media.backends import load  # noqa: E402
from mmcsal.media.decode import Source, decode_clip  # noqa: E402
from mmcsal.media.guard.wire import Channel, Result, answer_of, source_of  # noqa: E402
from mmcsal.media.probe import MediaError  # noqa: E402
from mmcsal.media.spec import MediaSpec  # noqa: E402
from mmcsal.storage.content import combine_hashes, hash_content  # noqa: E402


def serve(file_descriptor: int) -> None:
    """Answers requests until the worker goes away.

    Args:
        file_descriptor: of this process's end of the socket.
    """
    av.logging.set_level(av.logging.PANIC)  # what it says of broken files would drown the log; the reject row has it
    threading.Thread(target=_exit_with_parent, args=[os.getppid()], daemon=True).start()
    channel = Channel(socket.socket(fileno=file_descriptor))
    spec = MediaSpec.model_validate(channel.receive()[0])
    load(spec)  # before the limits: they are for files, not for libraries
    limit_resources(spec.decoder_memory_bytes, spec.timeout_s * (spec.recycle_after_clips + 1))
    channel.send({"layers": LAYERS})
    while True:
        try:
            source, descriptors = channel.receive()
        except EOFError:
            return
        begun_s = time.perf_counter()
        local, written = source_of(source, descriptors)
        result = _with_their_names(_decode(local, spec), written)
        for descriptor in descriptors:
            os.close(descriptor)
        header, tensors = answer_of(result, time.perf_counter() - begun_s)
        channel.send(header, *tensors)


def _decode(source: Source, spec: MediaSpec) -> Result:
    try:
        if _has_changed(source):
            return MediaError(Reason.CHANGED, "the file is not the one that was scanned; scan the corpus again")
        return decode_clip(source, spec)
    except Exception as error:  # a decoder's surprise is this file's reject, not the job's end
        if is_out_of_memory(error):
            limit = f"media.decoder_memory_bytes = {spec.decoder_memory_bytes}"
            return MediaError(Reason.TOO_LARGE, f"decoding it takes more memory than {limit}")
        if isinstance(error, MediaError):
            return error
        return MediaError(Reason.DECODE_ERROR, f"{type(error).__name__}: {error}")


def _has_changed(source: Source) -> bool:
    """Whether size, begin or end differ from what the scan found; a file that cannot be read will say so itself."""
    if source.content_hash is None:
        return False
    found = combine_hashes([hash_content(path) for path in (source.uri, source.audio_uri) if path is not None])
    return found not in (None, source.content_hash)


def _with_their_names(result: Result, written: dict[str, str]) -> Result:
    """An error without this process's names of files."""
    if not isinstance(result, MediaError):
        return result
    detail = result.detail
    for ours, theirs in written.items():
        detail = detail.replace(ours, theirs)
    return MediaError(result.reason, detail)


def _exit_with_parent(parent: int) -> None:
    """A hung decoder cannot see its socket close; so a thread looks whether the parent is still there."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
