import pytest
from jinja2 import UndefinedError

from xsheet.pages.environment import page_environment
from xsheet.pages.images import MAX_JPEG_BYTES, encode_jpeg
from xsheet.pages.wording import format_duration, format_percent, plural, printable

PACKAGES = ("xsheet.curate.report", "xsheet.audit.report", "xsheet.demo.page")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_uses_the_templates_and_the_style_of_the_kit(package):
    environment = page_environment(package)
    assert environment.get_template("macros.html")
    assert "--paper" in environment.globals["css"]


def test_values_are_escaped_and_control_characters_are_spelled_out():
    text = page_environment(PACKAGES[0]).from_string("{{ value }}").render(value="<b>\x1b\u202e&")
    assert text == "&lt;b&gt;\\x1b\\u202e&amp;"


def test_an_undefined_variable_is_an_error():
    with pytest.raises(UndefinedError):
        page_environment(PACKAGES[0]).from_string("{{ nothing }}").render()


def test_no_style_cuts_text_with_an_ellipsis():
    for package in PACKAGES:
        assert "ellipsis" not in page_environment(package).globals["css"]


def test_numbers_read_as_what_they_are():
    shares = [format_percent(share) for share in (1.0, 0.9999, 0.5, 0.0, 0.0005, 1e-7)]
    assert shares == ["100 %", "> 99.9 %", "50 %", "0 %", "0.05 %", "< 0.01 %"]
    assert [format_duration(s) for s in (4, 90, 7200, 720_000)] == ["4 s", "1.5 min", "2 h", "200 h"]
    assert [plural(1, "clip"), plural(2000, "clip")] == ["1 clip", "2,000 clips"]
    assert printable("a\u202eb") == "a\\u202eb"


def test_a_picture_of_noise_keeps_to_its_size():
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 255, (104, 960, 3), dtype=np.uint8)
    assert len(encode_jpeg(noise)) <= MAX_JPEG_BYTES
