"""Videos and set in a store, from the manifest to the features that training reads, each command on a machine anew."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.demo.corpus import make_corpus
from xsheet.runtime.executor import Execution
from xsheet.runtime.storage.mirror import open_mirror
from xsheet.runtime.storage.stores import list_objects, upload, write_object
from xsheet.schemas import tables

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1200)]
CHEAP = ("--set=export.pose=null", "--set=face.min_height_px=50")
FILMS, HEIGHT_PX = 2, 256


def done(*arguments):
    ran = CliRunner().invoke(app, [*map(str, arguments)])
    assert ran.exit_code == 0, (arguments, ran.output, ran.exception)
    return ran.stdout


@pytest.fixture(params=["s3", "gs", "az", "hf"])
def url(request):
    """URL of an empty folder of each store."""
    found = request.getfixturevalue(request.param)
    return "s3://films" if request.param == "s3" else found


@pytest.fixture
def manifest(url, tmp_path):
    """The URL of a manifest that names films of a store, some by their path beside it."""
    make_corpus(tmp_path / "corpus", films=FILMS, seed=79, height_px=HEIGHT_PX, execution=Execution(jobs=1))
    text = io.StringIO()
    rows = csv.DictWriter(text, ["path", "speaker", "licence"])
    rows.writeheader()
    for k, film in enumerate(sorted((tmp_path / "corpus" / "videos").iterdir())):
        upload(film, f"{url}/raw/{film.name}")
        path = f"raw/{film.name}" if k else f"{url}/raw/{film.name}"
        rows.writerow({"path": path, "speaker": f"person {k}", "licence": "CC0-1.0"})
    write_object(f"{url}/films.csv", text.getvalue().encode())
    return f"{url}/films.csv"


def test_from_a_manifest_of_urls_to_the_features_of_a_set_at_a_url(manifest, url, request, monkeypatch, tmp_path):
    place = f"{url}/sets/talk"
    server = request.getfixturevalue("s3") if url.startswith("s3") else None
    commands = (
        ("curate", "run", manifest, "--out", place, "--jobs", 1, *CHEAP),
        ("annotate", "run", place, "--jobs", 1, "--set=motion.min_face_px=40"),
        ("annotate", "consensus", place),
        (
            "train",
            "cache",
            place,
            "--jobs",
            1,
            "--set=cache.text.layer=consensus",
            "--set=cache.picture.frame_counts=[17]",
        ),
    )
    for k, command in enumerate(commands):
        monkeypatch.setenv("XSHEET_CACHE", str(tmp_path / f"machine {k}"))
        if server is not None:
            server.fails(2, "503")
        done(*command)
    monkeypatch.setenv("XSHEET_CACHE", str(tmp_path / "reader"))
    done("schemas", "check", place, "--hash-media")
    with open_mirror(place) as mirror:
        sources = list(tables.iter_records(mirror.folder, tables.SOURCES))
        clips = list(tables.iter_records(mirror.folder, tables.CLIPS))
        (features,) = (mirror.folder / "features").glob("*.parquet")
        cached = {row.clip_id for row in tables.iter_file_records(features, tables.FEATURES)}
    assert sorted(source.path for source in sources) == [one.url for one in list_objects(f"{url}/raw")]
    assert {source.status for source in sources} <= {"ok", "rejected"}
    assert clips
    assert cached == {clip.clip_id for clip in clips}
    assert json.loads(done("set", "stats", place, "--json"))["clips"] == len(clips)
