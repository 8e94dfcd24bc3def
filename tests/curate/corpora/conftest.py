"""One small corpus, described in the form of each published one: a talks for 3 s and for 3 s again, b once."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

VIDEOS = ("aaaaaaaaaa1", "bbbbbbbbbb2")  # ids have eleven characters
SEGMENTS = ((VIDEOS[0], 1.0, 4.0), (VIDEOS[0], 5.0, 8.0), (VIDEOS[1], 0.0, 3.0), ("cccccccccc3", 2.0, 4.0))


def link(video: str) -> str:
    return f"https://www.youtube.com/watch?v={video}&t=4"


def hdtf(folder: Path) -> Path:
    meta = folder / "HDTF_dataset"
    meta.mkdir(parents=True)
    (meta / "WDA_video_url.txt").write_text("".join(f"Name{v[0]} {link(v)}\n" for v in (*VIDEOS, "cccccccccc3")))
    (meta / "WDA_annotion_time.txt").write_text(
        "Namea.mp4 00:01-00:04 00:05-00:08 \nNameb.mp4 00:00-00:03\nNamec.mp4 00:02-00:04\n"
    )
    (meta / "WDA_crop_wh.txt").write_text("Namea_0.mp4 16 64 0 96\nNamea_1.mp4 16 64 0 96\n")
    (meta / "WDA_resolution.txt").write_text("Namea.mp4 96\nNameb.mp4 96\n")
    return meta


def celebv_hq(folder: Path) -> Path:
    clips = {
        f"{video}_{k}": {
            "ytb_id": video, "duration": {"start_sec": start, "end_sec": end},
            "bbox": {"top": 0.0, "bottom": 1.0, "left": 0.125, "right": 0.625},
            "attributes": {"action": [0, 1], "emotion": {"sep_flag": False, "labels": "happy"}}, "version": "v0.1",
        }
        for k, (video, start, end) in enumerate(SEGMENTS)
    }  # fmt: skip
    meta = folder / "celebvhq_info.json"
    meta.write_text(json.dumps({"meta_info": {"action_mapping": ["blow", "nod"]}, "clips": clips}))
    return meta


def talkvid(folder: Path) -> Path:
    rows = [
        {
            "id": f"video{video}-scene{k}", "height": 96, "fps": 25.0, "start-time": start, "end-time": end,
            "info": {"Person ID": video[0], "Video Link": link(video), "Language": "English"},
            "description": "talks", "dover_scores": 8.9,
        }
        for k, (video, start, end) in enumerate(SEGMENTS)
    ]  # fmt: skip
    meta = folder / "talkvid.json"
    meta.write_text(json.dumps(rows))
    return meta


def voxceleb2(folder: Path) -> Path:
    meta = folder / "txt"
    for k, (video, start, end) in enumerate(SEGMENTS):
        frames = range(round(start * 25), round(end * 25))
        lines = [f"{frame:06d} \t0.125 \t0.100 \t{0.4 + 0.1 * (frame % 2):.3f} \t0.800 \n" for frame in frames]
        head = f"Identity  : \tid0000{k}\nReference : \t{video}\nOffset    : \t-1\nFV Conf   : \t20.1\t(1)\n"
        file = meta / f"id0000{k}" / video / f"{k:05d}.txt"
        file.parent.mkdir(parents=True)
        file.write_text(f"{head}ASD Conf  : \t2.7\n\nFRAME \tX \tY \tW \tH \n{''.join(lines)}")
    return meta


def speakervid(folder: Path) -> Path:
    meta = folder / "merged_anno"
    meta.mkdir()
    for k, (video, start, end) in enumerate(SEGMENTS):
        row = {
            "num_frames": 75, "is_talking": 1, "clip_speaker_num": 1, "clear": 0.6, "conf": 5.1,
            "video_name": f"{video}_full_video_1080x1920", "speaker": ["SPEAKER_00"], "bbox": [0.1, 0.0, 0.9, 1.001],
            "org_start_seconds": start, "video_total_duration": end - start, "start_new": start + 0.1,
            "duration_new": end - start - 0.2, "raw_video_height": 1920, "raw_video_width": 1080,
        }  # fmt: skip
        (meta / f"{video}_full_video_1080x1920_{k:03d}_A.json").write_text(json.dumps(row))
    return meta


def vip_200k(folder: Path) -> Path:
    def segment(video, start, end):
        first = min(10, round(start * 25))  # frame of the clip, which begins so many frames before
        beg = round(start * 25) - first
        ends = {edge: {"frame_num": frame, "framerate": 25.0} for edge, frame in (("beg", beg), ("end", beg + 290))}
        last = first + round((end - start) * 25) - 1
        return {"id": video, "clip": ends, "fidx_beg": first, "fidx_end": last, "caption": "talks"}

    rows = [{"faces": [], "segments": [segment(*one)]} for one in SEGMENTS]
    meta = folder / "vip.json"
    meta.write_text(json.dumps(rows))
    return meta


def clip_table(folder: Path) -> Path:
    """In the form of a table per clip with the recording beside it."""
    rows = [
        {"clip_id": f"{v}_{k}", "video_id": v, "start_time": s, "end_time": e, "caption": "talks", "score": 0.5}
        for k, (v, s, e) in enumerate(SEGMENTS)
    ]
    meta = folder / "clips.parquet"
    pq.write_table(pa.Table.from_pylist(rows), meta)
    return meta


def video_folder(folder: Path) -> Path:
    rows = [{"file_name": f"videos/{v}.mp4", "text": "talks", "path": "/etc/passwd"} for v in (*VIDEOS, "cccccccccc3")]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


CORPORA: dict[str, Callable[[Path], Path]] = {
    "hdtf": hdtf, "celebv-hq": celebv_hq, "talkvid": talkvid, "voxceleb2": voxceleb2, "speakervid-5m": speakervid,
    "talkverse": clip_table, "vip-200k": vip_200k, "openhumanvid": clip_table, "video-folder": video_folder,
}  # fmt: skip


@pytest.fixture(scope="session")
def described() -> Callable[[str, Path], Path]:
    """Write the metadata of a kind into a folder; its path."""
    return lambda kind, folder: CORPORA[kind](folder)


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """(metadata, folder of videos) of a kind; the videos are empty files with the names of downloads."""

    def describe(kind: str) -> tuple[Path, Path]:
        videos = tmp_path / "videos"
        videos.mkdir()
        for video in VIDEOS:
            (videos / f"{video}.mp4").write_bytes(b"")
        return CORPORA[kind](tmp_path), (tmp_path if kind == "video-folder" else videos)

    return describe
