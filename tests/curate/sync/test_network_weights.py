"""Weights of strangers: tensors, or a sentence; no code of a pickle runs."""

import hashlib
import io
import pickle
import random

import pytest

from xsheet.curate.sync import light_asd, syncnet
from xsheet.schemas.errors import ConfigError

torch = pytest.importorskip("torch")
pytest.importorskip("python_speech_features", reason="the extra syncnet is not installed")


class Payload:
    def __reduce__(self):
        return pytest.fail, ("code of a pickle ran",)


def damaged_pickles():
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, stream)
    whole, chance = (stream.getvalue(), pickle.dumps({"a": 1, "b": [1, 2, "x"]}, 2)), random.Random(3)
    yield from (b"", b"abc", pickle.dumps(Payload()), b"\x80\x02h\xff.", b"\x80\x02X\x02\0\0\0\xff\xfe.", bytes(1024))
    for count in range(100):
        data = bytearray(whole[count % 2])
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        yield bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("network", [light_asd, syncnet])
def test_a_damaged_pickle_is_refused_without_running_it(network, tmp_path):
    for data in damaged_pickles():
        (tmp_path / "theirs.model").write_bytes(data)
        with pytest.raises(ConfigError) as error:
            network.convert_weights(
                tmp_path / "theirs.model", tmp_path / "out", sha256=hashlib.sha256(data).hexdigest()
            )
        assert "weights_only" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("network", [light_asd.LightAsd, syncnet.SyncNet])
@pytest.mark.parametrize("data", [b"", b"x" * 100, (2**60).to_bytes(8, "little") + b"{}", b"\2" + bytes(7) + b"[]"])
def test_bytes_that_are_no_safetensors_are_refused_even_with_their_hash(network, data, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(data)
    with pytest.raises(ConfigError, match="the tensors of"):
        network(tmp_path / "weights.safetensors", sha256=hashlib.sha256(data).hexdigest()).open()
