"""All kinds of cases, at least two of each."""

import struct
from collections.abc import Iterator

from benchmarks.spelled.cases import Case

X264 = "-c:v libx264 -preset veryfast -crf 14 -pix_fmt yuv420p -threads 1"
X265 = "-c:v libx265 -preset veryfast -crf 14 -pix_fmt yuv420p -x265-params log-level=none:pools=1"
VP9 = "-c:v libvpx-vp9 -b:v 0 -crf 20 -cpu-used 8 -deadline realtime -threads 1"
AAC, OPUS = "-c:a aac -b:a 96k", "-c:a libopus"
# By the ending of a name, codecs that its container holds.
USUAL = {
    "mp4": f"{X264} {AAC}",
    "mov": f"{X264} {AAC}",
    "mkv": f"{X264} {AAC}",
    "ts": f"{X264} -g 25 {AAC}",
    "flv": f"{X264} -g 25 {AAC}",
    "webm": f"{VP9} {OPUS}",
    "avi": "-c:v mpeg4 -q:v 2 -g 25 -c:a pcm_s16le",
    "mpg": "-c:v mpeg2video -q:v 2 -g 12 -c:a mp2",
    "wmv": "-c:v wmv2 -q:v 2 -g 25 -c:a wmav2",
    "ogv": "-c:v libtheora -q:v 9 -g 25 -c:a libvorbis",
}


def all_cases() -> list[Case]:
    """Every case, in the order of their kinds."""
    makers = (
        _codecs,
        _sounds,
        _shapes,
        _turned,
        _late,
        _far,
        _cuts,
        _groups,
        _holes,
        _short,
        _streams,
        _rates,
        _damaged,
    )
    return [case for maker in (*makers, _unfinished, _changing, _sizes, _refused) for case in maker()]


def _case(kind: str, name: str, *commands: str, **expected) -> Case:
    return Case(name=name, kind=kind, commands=commands, **expected)


def _codecs() -> Iterator[Case]:
    for ending, codecs in USUAL.items():
        yield _case("codecs", f"usual.{ending}", f"-i {{b4}} {codecs} {{out}}")
    for name, codecs in {
        "hevc.mp4": f"{X265} -tag:v hvc1 {AAC}",
        "hevc10.mkv": f"{X265} -pix_fmt yuv420p10le {AAC}",
        "av1.mp4": f"-c:v libsvtav1 -preset 10 -crf 25 {AAC}",
        "av1.webm": f"-c:v libaom-av1 -cpu-used 8 -crf 25 -threads 1 {OPUS}",
        "vp8.webm": "-c:v libvpx -b:v 1M -auto-alt-ref 1 -lag-in-frames 12 -cpu-used 8 -c:a libvorbis",
        "vp9.mp4": f"{VP9} {AAC}",
        "mpeg4.mp4": f"-c:v mpeg4 -bf 2 -q:v 2 -g 25 {AAC}",
        "prores.mov": "-c:v prores_ks -c:a pcm_s24le",
        "mjpeg.mov": "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p -c:a pcm_s16le",
        "dv.avi": "-vf scale=720:576,setsar=16/15 -c:v dvvideo -pix_fmt yuv420p -c:a pcm_s16le -ar 48000",
        "h263.3gp": f"-vf scale=176:144,setsar=12/11 -c:v h263 -q:v 2 {AAC} -ar 8000 -ac 1",
        "flv1.flv": "-c:v flv1 -q:v 2 -c:a libmp3lame -ar 44100",
        "huffyuv.avi": "-c:v huffyuv -pix_fmt yuv422p -c:a pcm_s16le",
        "png.mkv": "-c:v png -c:a flac",
        "h264_b.avi": f"{X264} -bf 2 -g 25 -c:a libmp3lame",
        "h264_no_b.avi": f"{X264} -bf 0 -c:a pcm_s16le",
        "mpeg2_b.avi": "-c:v mpeg2video -bf 2 -q:v 2 -c:a pcm_s16le",
        "xvid_b.avi": "-c:v libxvid -bf 2 -q:v 2 -c:a libmp3lame",
        "divx_b.avi": "-c:v mpeg4 -bf 2 -q:v 2 -vtag DX50 -c:a libmp3lame",
        "h264.wmv": f"{X264} -bf 0 -g 25 -c:a wmav2 -f asf",
        "msmpeg4.wmv": "-c:v msmpeg4v3 -q:v 2 -c:a wmav2",
    }.items():
        yield _case("codecs", name, f"-i {{b4}} {codecs} {{out}}")


def _sounds() -> Iterator[Case]:
    for name, sound in {
        "mono_8k.mov": "-c:a pcm_mulaw -ar 8000 -ac 1",
        "float_96k.mov": "-c:a pcm_f32le -ar 96000",
        "surround.mp4": '-af "pan=5.1|FC=c0" -c:a aac -b:a 256k',
        "left_only.mp4": f'-af "pan=stereo|c0=c0" {AAC}',
        "against_phase.mp4": f'-af "pan=stereo|c0=c0|c1=-1*c0" {AAC}',
        "ac3.mkv": "-c:a ac3",
        "mp3.mkv": "-c:a libmp3lame",
        "vorbis.mkv": "-c:a libvorbis",
        "opus.mkv": OPUS,
        "alac.mov": "-c:a alac",
        "adpcm.mov": "-c:a adpcm_ima_qt",
        "dts.mkv": "-strict -2 -c:a dca",
    }.items():
        yield _case("kinds of sound", name, f"-i {{b4}} {X264} {sound} {{out}}")
    silence = f"-i {{b4}} -f lavfi -t 4 -i anullsrc=r=48000 -map 0:v -map 1:a {X264} {AAC} {{out}}"
    yield _case("kinds of sound", "silent.mp4", silence, silent=True)


def _shapes() -> Iterator[Case]:
    for size, ending in (("80:120,setsar=2", "mp4"), ("320:120,setsar=1/2", "mkv"), ("110:90,setsar=12/11", "ts")):
        yield _case(
            "pixels not square", f"{ending}_sar.{ending}", f"-i {{b4}} -vf scale={size} {USUAL[ending]} {{out}}"
        )
    for ending in ("avi", "mpg", "webm"):
        yield _case(
            "pixels not square",
            f"{ending}_sar.{ending}",
            f"-i {{b4}} -vf scale=120:120,setsar=4/3 {USUAL[ending]} {{out}}",
        )
    sharp = "-c:v libx264 -preset veryfast -crf 14 -threads 1"
    yield _case("odd pictures", "odd_size.mkv", f"-i {{b4}} -vf scale=161:121 {sharp} -pix_fmt yuv444p {AAC} {{out}}")
    yield _case("odd pictures", "ten_bit.mp4", f"-i {{b4}} {sharp} -pix_fmt yuv420p10le {AAC} {{out}}")
    yield _case("odd pictures", "alpha.mov", "-i {b4} -c:v qtrle -pix_fmt argb -c:a pcm_s16be {out}")
    yield _case(
        "odd pictures", "full_range.mp4", f"-i {{b4}} -vf scale=out_range=full {X264} -pix_fmt yuvj420p {AAC} {{out}}"
    )
    hd = "-vf scale=out_color_matrix=bt709 -colorspace bt709 -color_primaries bt709 -color_trc bt709"
    yield _case("odd pictures", "bt709.mp4", f"-i {{b4}} {hd} {X264} {AAC} {{out}}")


def _turned() -> Iterator[Case]:
    undo = {90: "transpose=1", 180: "hflip,vflip", 270: "transpose=2"}
    for film in ("b4", "wide"):
        for angle, turn in undo.items():
            coded = f"-i {{{film}}} -vf {turn} {X264} {AAC} {{tmp}}/a.mp4"
            turned = f"-i {{tmp}}/a.mp4 -c copy -metadata:s:v rotate={angle} {{out}}"
            yield _case("turned", f"turned{angle}_{film}.{'mov' if film == 'wide' else 'mp4'}", coded, turned)
    squeezed = f"-i {{b4}} -vf transpose=1,scale=240:160,setsar=1/2 {X264} {AAC} {{tmp}}/a.mp4"
    yield _case("turned", "turned_and_squeezed.mp4", squeezed, "-i {tmp}/a.mp4 -c copy -metadata:s:v rotate=90 {out}")
    hevc = f"-i {{wide}} -vf transpose=1 {X265} -tag:v hvc1 {AAC} {{tmp}}/a.mp4"
    yield _case("turned", "turned_hevc.mov", hevc, "-i {tmp}/a.mp4 -c copy -metadata:s:v rotate=90 {out}")
    for flip in ("horizontal", "vertical"):
        coded = f"-i {{b4}} -vf {flip[0]}flip {X264} {AAC} {{tmp}}/a.mp4"
        told = f"-i {{tmp}}/a.mp4 -c copy -bsf:v h264_metadata=display_orientation=insert:flip={flip} {{out}}"
        yield _case("turned", f"mirrored_{flip}.mp4", coded, told)


def _late() -> Iterator[Case]:
    for ending in ("mp4", "mov", "mkv", "webm", "ts", "flv"):
        coded = f"-i {{b4}} {USUAL[ending]} {{tmp}}/a.{ending}"
        both = f"-i {{tmp}}/a.{ending} -itsoffset 0.8 -i {{tmp}}/a.{ending}"
        yield _case(
            "sound later", f"sound_later.{ending}", coded, f"{both} -map 0:v -map 1:a -c copy {{out}}", sound_late_s=0.8
        )
        yield _case(
            "picture later",
            f"picture_later.{ending}",
            coded,
            f"{both} -map 1:v -map 0:a -c copy {{out}}",
            sound_late_s=-0.8,
        )
    coded = f"-i {{b4}} -c:v mpeg4 -q:v 2 -g 50 {AAC} {{tmp}}/a.mp4"
    both = "-i {tmp}/a.mp4 -itsoffset 0.8 -i {tmp}/a.mp4 -map 1:v -map 0:a -c copy {out}"
    yield _case("picture later", "picture_later.avi", coded, both, sound_late_s=-0.8)
    for codecs in (AAC, "-c:a libmp3lame"):
        coded = f"-i {{b4}} -c:v mpeg4 -q:v 2 -g 50 {codecs} {{tmp}}/a.mp4"
        both = "-i {tmp}/a.mp4 -itsoffset 0.8 -i {tmp}/a.mp4 -map 0:v -map 1:a -c copy {out}"
        yield _case("sound later", f"sound_later_{codecs.split()[1]}.avi", coded, both, sound_late_s=0.8)


def _far() -> Iterator[Case]:
    for seconds in (100, 36_000, 95_441.7):
        for b_frames in (0, 2):
            name = f"from_{seconds:.0f}_b{b_frames}.ts"
            command = f"-i {{b4}} {X264} -bf {b_frames} {AAC} -muxdelay 0 -output_ts_offset {seconds} {{out}}"
            yield _case("far from zero", name, command)
    yield _case("far from zero", "from_50.mkv", f"-i {{b4}} {USUAL['mkv']} -output_ts_offset 50 {{out}}")
    yield _case("far from zero", "from_50.mp4", f"-i {{b4}} {USUAL['mp4']} -output_ts_offset 50 {{out}}")


def _cuts() -> Iterator[Case]:
    for b_frames in (0, 2):
        coded = f"-i {{b12}} {X264} -g 50 -bf {b_frames} {AAC} {{tmp}}/a.mp4"
        for ending in ("mp4", "mov", "mkv", "ts"):
            yield _case(
                "cut without coding", f"cut_b{b_frames}.{ending}", coded, "-ss 3.3 -i {tmp}/a.mp4 -t 4 -c copy {out}"
            )
        yield _case(
            "cut without coding", f"cut_after_b{b_frames}.mp4", coded, "-i {tmp}/a.mp4 -ss 3.3 -t 4 -c copy {out}"
        )
        again = "-ss 1 -i {tmp}/b.mp4 -t 3 -c copy {out}"
        yield _case(
            "cut without coding",
            f"cut_twice_b{b_frames}.mp4",
            coded,
            "-ss 3.3 -i {tmp}/a.mp4 -t 6 -c copy {tmp}/b.mp4",
            again,
        )


def _groups() -> Iterator[Case]:
    middle = {"spec": {"window_s": 3.0}}  # so that the decoder has to look for it
    for name, codecs in {
        "open.mp4": f"{X264} -x264opts open-gop=1:keyint=25:bframes=3 {AAC}",
        "open_hevc.mkv": f"{X265}:open-gop=1:keyint=25:min-keyint=25:bframes=4 {AAC}",
        "open_hevc.mp4": f"{X265}:open-gop=1:keyint=25:min-keyint=25:bframes=4 {AAC}",
        "open_mpeg2.ts": "-c:v mpeg2video -q:v 2 -g 15 -bf 2 -c:a mp2",
        "open_mpeg2.mpg": "-c:v mpeg2video -q:v 2 -g 15 -bf 2 -c:a mp2",
        "refresh.mp4": f"{X264} -x264opts intra-refresh=1:keyint=50:bframes=0 {AAC}",
        "refresh.mkv": f"{X264} -x264opts intra-refresh=1:keyint=50:bframes=0 {AAC}",
        "one_key.mp4": f"{X264} -g 1000 {AAC}",
        "one_key.ts": f"{X264} -g 1000 {AAC}",
        "one_key.webm": f"{VP9} -g 1000 {OPUS}",
        "short_groups.mkv": f"{X264} -g 12 {AAC}",
        "short_groups.wmv": "-c:v wmv2 -q:v 2 -g 12 -c:a wmav2",
        "short_groups.flv": f"{X264} -g 12 {AAC}",
        "b_frames.avi": "-c:v libxvid -bf 2 -q:v 2 -g 25 -c:a libmp3lame",
        "theora.ogv": USUAL["ogv"],
    }.items():
        yield _case("groups of pictures", name, f"-i {{b12}} {codecs} {{out}}", **middle)


def _holes() -> Iterator[Case]:
    for begin, end, tag in ((1.0, 1.3, "short"), (1.0, 2.2, "long")):
        for ending in ("mp4", "mkv", "ts", "webm", "flv"):
            dropped = f"-af \"aselect='not(between(t,{begin},{end}))'\""
            yield _case(
                "holes in the sound",
                f"hole_{tag}.{ending}",
                f"-i {{b4}} {dropped} {USUAL[ending]} {{out}}",
                hole=(begin, end),
            )
    dropped = "-af \"aselect='not(between(t,1,2.2))'\""
    yield _case(
        "holes in the sound",
        "hole_long.avi",
        f"-i {{b4}} {dropped} -c:v mpeg4 -q:v 2 -g 25 -c:a libmp3lame {{out}}",
        hole=(1.0, 2.2),
    )


def _short() -> Iterator[Case]:
    for ending in ("mp4", "mkv", "webm", "flv", "ts", "avi", "mpg"):
        sound, picture = "-i {b4} -t 2.5 -i {b4}", "-t 2.5 -i {b4} -i {b4}"
        yield _case("sound shorter", f"sound_shorter.{ending}", f"{sound} -map 0:v -map 1:a {USUAL[ending]} {{out}}")
        yield _case(
            "picture shorter", f"picture_shorter.{ending}", f"{picture} -map 0:v -map 1:a {USUAL[ending]} {{out}}"
        )


def _streams() -> Iterator[Case]:
    two = f"-f lavfi -i sine=4000:d=4 -i {{b4}} -map 1:v -map 0:a -map 1:a {X264} {AAC}"
    yield _case("many streams", "second_is_default.mkv", f"{two} -disposition:a:0 0 -disposition:a:1 default {{out}}")
    yield _case("many streams", "commentary_first.mkv", f"{two} -disposition:a:0 comment -disposition:a:1 0 {{out}}")
    yield _case("many streams", "described_first.ts", f"{two} -c:a mp2 -disposition:a:0 visual_impaired {{out}}")
    yield _case("many streams", "second_by_key.mp4", f"{two} {{out}}", spec={"audio_stream": 1})
    small = '-filter_complex "[0:v]split[a][b];[a]scale=64:48,negate[s];[b]copy[l]" -map [s] -map [l] -map 0:a'
    for ending in ("mp4", "mkv", "ts"):
        yield _case("many streams", f"two_pictures.{ending}", f"-i {{b4}} {small} {USUAL[ending]} {{out}}")
    cover = "-f lavfi -i color=magenta:s=640x360 -frames:v 1 {tmp}/a.jpg"
    first = f"-i {{b4}} -i {{tmp}}/a.jpg -map 1:v -map 0:v -map 0:a -c:v:0 copy {X264.replace('-c:v', '-c:v:1')} {AAC}"
    yield _case("many streams", "cover_first.mp4", cover, f"{first} -disposition:v:0 attached_pic {{out}}")


def _rates() -> Iterator[Case]:
    yield _case("rates", "two_a_second.mp4", f"-i {{slow}} {USUAL['mp4']} {{out}}", spread_s=1.0)
    yield _case("rates", "ntsc.mp4", f"-i {{b4}} -r 30000/1001 {USUAL['mp4']} {{out}}")
    yield _case("rates", "fast.mkv", f"-i {{b4}} -r 120 {USUAL['mkv']} {{out}}")
    uneven = "-vf \"select='not(mod(n\\,5))+lt(mod(n\\,9)\\,3)'\" -vsync vfr"
    for ending in ("mp4", "mkv", "webm", "ts"):
        yield _case("rates", f"uneven.{ending}", f"-i {{b4}} {uneven} {USUAL[ending]} {{out}}", spread_s=0.2)


def _damaged() -> Iterator[Case]:
    mp2 = "-i {b4} -c:v mpeg4 -q:v 2 -c:a mp2 {out}"
    yield _case(
        "damaged",
        "sound_packet.avi",
        mp2,
        edit=lambda data: _zero(data, data.find(b"01wb", len(data) * 6 // 10) + 8, 4),
    )
    mp3 = f"-i {{b4}} {X264} -c:a libmp3lame {{out}}"
    yield _case(
        "damaged",
        "sound_packet.mkv",
        mp3,
        edit=lambda data: _zero(data, data.find(b"\xff\xfb", len(data) * 6 // 10), 4),
    )
    ts = f"-i {{b4}} {X264} -g 25 -bf 0 {AAC} {{out}}"
    yield _case(
        "damaged",
        "lost_packets.ts",
        ts,
        edit=lambda data: b"".join(p for k, p in enumerate(_cells(data)) if k % 97 != 50),
    )
    mp4 = f"-i {{b4}} {USUAL['mp4']} -g 25 {{out}}"
    yield _case(
        "damaged",
        "picture.mp4",
        mp4,
        edit=lambda data: data[: len(data) // 2] + b"\xaa" * 150 + data[len(data) // 2 + 150 :],
    )


def _unfinished() -> Iterator[Case]:
    for ending, form in (("mkv", "matroska"), ("webm", "webm"), ("flv", "flv"), ("ts", "mpegts")):
        live = " -live 1" if ending in ("mkv", "webm") else " -flvflags no_duration_filesize" if ending == "flv" else ""
        yield _case("no end in the header", f"live.{ending}", f"-i {{b4}} {USUAL[ending]}{live} -f {form} {{out}}")
    fragments = "-movflags frag_keyframe+empty_moov+default_base_moof"
    for ending in ("mp4", "mov"):
        yield _case(
            "no end in the header", f"fragments.{ending}", f"-i {{b4}} {USUAL[ending]} -g 25 {fragments} {{out}}"
        )
    hls = f"-i {{b12}} {X264} -g 50 {AAC} -f hls -hls_time 4 -hls_segment_filename {{tmp}}/s%d.ts {{tmp}}/p.m3u8"
    for part in (0, 1):
        yield _case("no end in the header", f"segment{part}.ts", hls, f"cat {{tmp}}/s{part}.ts")


def _changing() -> Iterator[Case]:
    halves = (
        "-t 2 -i {{b12}} {0} {{tmp}}/a.ts",
        "-ss 2 -t 2 -i {{b12}} -output_ts_offset 2 {0} {{tmp}}/b.ts",
        "cat {tmp}/a.ts {tmp}/b.ts",
    )
    mpeg2 = "-c:v mpeg2video -q:v 2 -g 12"  # the second half begins 0.04 to 0.06 s early, as the file says
    for name, first, second in (
        ("layout.ts", "-c:a ac3 -ac 2", '-af "pan=5.1|FC=c0" -c:a ac3'),
        ("rate.ts", "-c:a mp2 -ar 48000", "-c:a mp2 -ar 32000"),
        ("size.ts", "-c:a mp2", "-vf scale=320:240 -c:a mp2"),
    ):
        a, b = halves[0].format(f"{mpeg2} {first}"), halves[1].format(f"{mpeg2} {second}")
        yield _case("changes on the way", name, a, b, halves[2], sound_spread_s=0.12)


def _sizes() -> Iterator[Case]:
    for size in (48, 72):
        square = f"-i {{b4}} -vf crop=120:120 {USUAL['mp4']} {{out}}"
        yield _case("sizes of clips", f"square_{size}.mp4", square, spec={"frame_size_px": size})


def _refused() -> Iterator[Case]:
    def refused(name: str, reason: str, *commands: str, **rest) -> Case:
        return _case("refused by name", name, *commands, reject=reason, **rest)

    usual = f"-i {{b4}} {USUAL['mp4']} -g 25 {{out}}"
    first = f"-i {{b4}} {USUAL['mp4']} -g 25 -movflags +faststart {{out}}"
    yield refused("no_index.mp4", "decode_error", usual, edit=lambda data: data[: len(data) * 6 // 10])
    yield refused("cut_off.mp4", "decode_error", first, edit=lambda data: data[: len(data) * 6 // 10])
    yield refused(
        "zero_tail.mp4", "decode_error", first, edit=lambda data: data[: len(data) * 6 // 10].ljust(len(data), b"\0")
    )
    yield refused(
        "cut_off.mkv",
        "decode_error",
        f"-i {{b4}} {USUAL['mkv']} -g 25 {{out}}",
        edit=lambda data: data[: len(data) * 6 // 10],
    )
    yield refused(
        "cut_off.avi",
        "decode_error",
        f"-i {{b4}} {USUAL['avi']} {{out}}",
        edit=lambda data: data[: len(data) * 6 // 10],
    )
    key = "00112233445566778899aabbccddeeff"
    locked = f"-encryption_scheme cenc-aes-ctr -encryption_key {key} -encryption_kid {key}"
    yield refused("encrypted.mp4", "decode_error", f"-i {{b4}} {USUAL['mp4']} {locked} {{out}}")
    yield refused("no_parameters.mp4", "decode_error", usual, edit=lambda data: _zero(data, data.find(b"avcC") + 4, 26))
    yield refused("unknown_sound.avi", "decode_error", f"-i {{b4}} {USUAL['avi']} {{out}}", edit=_unknown_sound)
    yield refused("sound_only.mp4", "no_video", f"-i {{b4}} -vn {AAC} {{out}}")
    yield refused("picture_only.mkv", "no_audio", f"-i {{b4}} -an {X264} {{out}}")
    yield refused("blink.mp4", "too_short", f"-t 0.2 -i {{b4}} {USUAL['mp4']} {{out}}")
    yield refused("text.mp4", "not_media", usual, edit=lambda data: b"no film " * 500)
    yield refused("nothing.mp4", "empty_file", usual, edit=lambda data: b"")
    thin = "-f lavfi -i color=gray:s=8190x2:r=25:d=1 -f lavfi -i sine=500:d=1 -c:v mpeg4 -c:a aac {out}"
    yield refused("thin.mp4", "too_large", thin)
    yield refused("wide.mp4", "too_large", usual, spec={"max_side_px": 150})


def _zero(data: bytes, start: int, count: int) -> bytes:
    return data[:start] + bytes(count) + data[start + count :]


def _cells(data: bytes) -> list[bytes]:
    """The packets of a transport stream."""
    return [data[k : k + 188] for k in range(0, len(data), 188)]


def _unknown_sound(data: bytes) -> bytes:
    start = data.find(b"strf", data.find(b"auds")) + 8
    return data[:start] + struct.pack("<H", 0x1234) + data[start + 2 :]
